package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
	"github.com/windlass-mesh/windlass/mesh/linkerd"
)

// fleetFlags say which clusters a command asks, and how.
type fleetFlags struct {
	contexts   []string
	kubeconfig string
	namespace  string
	timeout    durationFlag
	allowLocal bool
	live       bool
}

func (f *fleetFlags) register(c *cobra.Command) {
	f.timeout.d = time.Minute
	fs := c.Flags()
	fs.StringArrayVar(&f.contexts, "context", nil, "a cluster of the fleet, as the kubeconfig `NAME`s it; may be repeated (default the current one)")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "the kubeconfig `FILE` (default what kubectl would use)")
	fs.StringVar(&f.namespace, "linkerd-namespace", "", "the control plane in this `NAMESPACE`, where a cluster has several")
	fs.Var(&f.timeout, "timeout", "how long one cluster, and one Link's target, may take")
	fs.BoolVar(&f.live, "live", false, "ask the proxies themselves what they trust and present, over port-forwards")
	fs.BoolVar(&f.allowLocal, "allow-local-links", false, "follow credentials of Links to loopback and link-local addresses too, as in test beds")
}

const fleetHelp = `Every --context is a cluster of the fleet; Links are matched to them by who answers,
not by name. A cluster that does not answer is reported, and the others all the same.`

// maxParallel bounds how many clusters are asked at once.
const maxParallel = 8

// member is a cluster that is to be asked.
type member struct {
	name   string
	config *rest.Config
}

// members looks up the contexts. Nothing is connected yet.
func (f *fleetFlags) members() ([]member, error) {
	source := mesh.Kubeconfig{Path: f.kubeconfig}
	names := f.contexts
	if len(names) == 0 {
		_, current, err := source.Contexts()
		if err != nil {
			return nil, withHints(err, "--kubeconfig names another file")
		}
		if current == "" {
			return nil, withHints(errors.New("no cluster to ask: the kubeconfig has no current context"), "name the clusters: --context NAME, once for each", "`kubectl config get-contexts` lists them")
		}
		names = []string{current}
	}
	var out []member
	for _, name := range names {
		config, err := source.Config(name)
		if err != nil {
			return nil, withHints(err, contextHint(source))
		}
		if slices.ContainsFunc(out, func(m member) bool { return m.name == name }) {
			return nil, usagef("--context %s is given twice", name)
		}
		out = append(out, member{name, config})
	}
	return out, nil
}

func contextHint(source mesh.Kubeconfig) string {
	names, _, err := source.Contexts()
	if err != nil || len(names) == 0 {
		return "--kubeconfig names another file"
	}
	slices.Sort(names)
	if len(names) > 8 {
		names = append(names[:8], "...")
	}
	return "the kubeconfig has " + strings.Join(names, ", ")
}

// fleet is what was seen of all clusters.
type fleet struct {
	*mesh.Fleet
	outside health.Outside
}

// survey asks every cluster, side by side, then who is behind each Link, and
// with the Link's own credentials those targets that are no members.
func (a *app) survey(ctx context.Context, f *fleetFlags, links bool) (*fleet, error) {
	all, err := f.members()
	if err != nil {
		return nil, err
	}
	opts := mesh.Options{Timeout: min(f.timeout.d, 30*time.Second)}
	survey := linkerd.Options{Credentials: linkerd.CredentialOptions{AllowLocal: f.allowLocal}}
	if f.namespace != "" {
		survey.Namespaces = []string{f.namespace}
	}
	out := &fleet{&mesh.Fleet{Surveys: make([]*mesh.Survey, len(all))}, health.Outside{}}
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].name
	}
	progress := a.progress("asking", names)
	defer progress.end()
	inParallel(len(all), func(i int) {
		defer progress.done(all[i].name)
		out.Surveys[i] = f.ask(ctx, all[i], opts, survey, progress)
		choose(out.Surveys[i], f.namespace)
	})
	if links {
		f.follow(ctx, a, out, opts, survey)
	}
	if err := context.Cause(ctx); err != nil {
		return nil, fmt.Errorf("survey: %w", err)
	}
	return out, nil
}

// ask surveys one cluster, and with --live its proxies, each within the timeout.
func (f *fleetFlags) ask(ctx context.Context, m member, opts mesh.Options, o linkerd.Options, p *progress) *mesh.Survey {
	client, err := mesh.NewClient(m.config, opts)
	if err != nil {
		// A certificate that is not where the kubeconfig says, for one: the other
		// clusters are no worse for it.
		s := &mesh.Survey{Name: m.name, Server: m.config.Host}
		s.Know(mesh.Unknown{Code: mesh.CodeUnreachable, About: "cluster", Reason: err.Error(), Err: err})
		return s
	}
	defer client.CloseIdle()
	cluster := &mesh.Cluster{Name: m.name, Client: client}
	reading, cancel := context.WithTimeout(ctx, f.timeout.d)
	defer cancel()
	s := linkerd.Survey(reading, cluster, o)
	if f.live && s.Reached {
		asking, cancel := context.WithTimeout(ctx, f.timeout.d)
		defer cancel()
		linkerd.Live(asking, cluster, s, linkerd.LiveOptions{Progress: func(done, all int) { p.step(m.name, done, all) }})
	}
	return s
}

// choose leaves one control plane where the command line names it.
func choose(s *mesh.Survey, namespace string) {
	if namespace == "" || !s.Reached {
		return
	}
	s.Unknowns = slices.DeleteFunc(s.Unknowns, func(u mesh.Unknown) bool { return u.Code == mesh.CodeTwoInstalls })
	had := len(s.Installations)
	s.Installations = slices.DeleteFunc(s.Installations, func(i *mesh.Installation) bool { return i.Namespace != namespace })
	if len(s.Installations) == 0 && had > 0 {
		s.Know(mesh.Unknown{Code: mesh.CodeNoLinkerd, About: "control plane " + namespace, Reason: "there is no ConfigMap " + namespace + "/linkerd-config"})
	}
}

// follow asks who is behind each Link.
func (f *fleetFlags) follow(ctx context.Context, a *app, out *fleet, opts mesh.Options, o linkerd.Options) {
	type task struct {
		at   *mesh.Survey
		link *mesh.Link
	}
	var tasks []task
	var names []string
	for _, s := range out.Surveys {
		for _, l := range s.Links {
			tasks = append(tasks, task{s, l})
			names = append(names, s.Name+" to "+l.Target)
		}
	}
	if len(tasks) == 0 {
		return
	}
	probe := opts
	probe.Timeout = min(opts.Timeout, 10*time.Second)
	progress := a.progress("following Links", names)
	defer progress.end()
	var mu sync.Mutex
	inParallel(len(tasks), func(i int) {
		defer progress.done(names[i])
		t := tasks[i]
		ctx, cancel := context.WithTimeout(ctx, f.timeout.d)
		defer cancel()
		linkerd.Probe(ctx, t.link, probe)
		// Members stay as they are from here on; a Link is its own task's alone.
		if s := out.Target(t.link); s != nil && s.Reached {
			return
		}
		there := o // each has its own: what is no peer of one may be one of another
		there.Credentials.OwnServers = []string{t.at.Server}
		if s := linkerd.Outside(ctx, t.link, probe, there); s != nil {
			mu.Lock()
			defer mu.Unlock()
			out.outside[t.link] = s
		}
	})
}

func inParallel(n int, do func(int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i := range n {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			do(i)
		})
	}
	wg.Wait()
}

// progress is a line on a person's terminal that says who is being waited for.
type progress struct {
	a    *app
	what string

	mu      sync.Mutex
	waiting []string
	steps   map[string]string
	total   int
}

func (a *app) progress(what string, names []string) *progress {
	p := &progress{what: what, waiting: slices.Clone(names), steps: map[string]string{}, total: len(names)}
	if a.StderrIsTerminal && a.output == "text" {
		p.a = a
	}
	p.show()
	return p
}

func (p *progress) done(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, name); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	p.show()
}

// step says how far one of them is.
func (p *progress) step(name string, done, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.steps[name] = fmt.Sprintf(" (%d of %d proxies)", done, all)
	p.show()
}

func (p *progress) show() {
	if p.a == nil || len(p.waiting) == 0 {
		return
	}
	var waiting []string
	for _, name := range p.waiting {
		waiting = append(waiting, name+p.steps[name])
	}
	names := strings.Join(waiting, ", ")
	if r := []rune(names); len(r) > 50 {
		names = string(r[:50]) + "..."
	}
	fmt.Fprintf(p.a.Stderr, "\r\x1b[K%s: %d of %d done, waiting for %s", p.what, p.total-len(p.waiting), p.total, visible(names))
}

func (p *progress) end() {
	if p.a != nil {
		fmt.Fprint(p.a.Stderr, "\r\x1b[K")
	}
}
