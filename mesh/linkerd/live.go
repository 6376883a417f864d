package linkerd

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/portforward"
)

// LiveOptions tune [Live]. The zero value works.
type LiveOptions struct {
	// Parallel is how many peers are asked at the same time. Default 16.
	Parallel int
	// PerPeer bounds the asking of one peer, all included. Default 10 s.
	PerPeer time.Duration
	// Sample is how many peers of a class are asked, those that run and are
	// ready first. 0 is all. Where only a sample was asked, the others go into a
	// class of their own whose chain stays unknown; peers whose trust set is not
	// a literal of their spec are always asked, for nothing else says what it is.
	Sample int
	// Dial, where it is not nil, reaches gateways and ExternalWorkloads, at their
	// own addresses ("host:port"), for one TLS handshake each. nil leaves them
	// alone. (&net.Dialer{}).DialContext is one; what it connects to must not
	// change with the name: Live has looked that up.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// AllowLocal lets Dial be called with loopback and link-local addresses,
	// which otherwise are refused.
	AllowLocal bool
	// Progress, where it is not nil, is told how many of all peers to be asked
	// are done. Calls come one after another.
	Progress func(done, all int)
}

// LiveReport says what became of [Live].
type LiveReport struct {
	Peers    int // of the survey
	Asked    int // were asked
	Answered int // did answer, by their anchors, their chain or both
	Gateways int // showed a chain
	// Cost is that of the requests beside the port-forwards, of which there is
	// one for each peer asked.
	Cost mesh.Stats
}

// Live asks the proxies of a surveyed cluster themselves, each over a
// port-forward to its admin port: for the anchors that its process was started
// with (/env.json, Linkerd 2.12 and later) and for the chain that it presents (a
// TLS handshake for its own name).
//
//	s := linkerd.Survey(ctx, cluster, linkerd.Options{})
//	report := linkerd.Live(ctx, cluster, s, linkerd.LiveOptions{})
//
// It changes the survey in place. Peers get TrustEvidence [mesh.EvidenceAdmin],
// Presented and PresentedEvidence; classes are made anew of what is known then,
// so that those which turned out to be several are several. After its answers a
// pod is read once more: they count only where it still is the pod and the
// process of the survey, or of a second try.
//
// It fails at nothing. Who did not answer stands among the survey's unknowns
// with the reason, and keeps the trust set that the survey gave it. It gives up
// where of the first peers not one answers, and ends when ctx does.
//
// It needs create (or get) of pods/portforward and get of pods. A proxy before
// 2.12 does not tell its environment; its chain is seen all the same. An
// identity process reads its anchors from a file and nobody can ask it for them:
// IdentityProcess.Roots stays as the survey inferred it.
func Live(ctx context.Context, cluster *mesh.Cluster, s *mesh.Survey, o LiveOptions) LiveReport {
	l := &live{ctx: ctx, client: cluster.Client, survey: s, opts: o.withDefaults(),
		answers: make([]answer, len(s.Peers)), gateways: make([]*mesh.Unknown, len(s.Gateways)),
	}
	before := l.client.Stats()
	l.readClock()
	l.run(l.choose())
	l.reclassify()
	l.conclude()
	after := l.client.Stats()
	l.report.Peers = len(s.Peers)
	l.report.Cost = mesh.Stats{Requests: after.Requests - before.Requests, Bytes: after.Bytes - before.Bytes}
	if t := l.client.ServerTime(); !t.IsZero() {
		s.Ended = t
	}
	return l.report
}

func (o LiveOptions) withDefaults() LiveOptions {
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	if o.PerPeer <= 0 {
		o.PerPeer = 10 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(int, int) {}
	}
	return o
}

// live is one call of Live.
type live struct {
	ctx    context.Context
	client *mesh.Client
	survey *mesh.Survey
	opts   LiveOptions
	report LiveReport

	forward *portforward.Forwarder
	certs   certificates
	answers []answer // of each peer

	gateways []*mesh.Unknown // why each showed no chain

	mu        sync.Mutex
	texts     mesh.Texts
	forbidden map[string]error // by namespace: asking there is no use
	done, all int
	heard     bool  // somebody answered
	misses    int   // failures before that
	gaveUp    error // nobody else is asked
}

// answer is what one peer said.
type answer struct {
	trustAsked   bool // it told its anchors, or that it has none
	trust        *mesh.TrustSet
	trustWhy     string
	presentedWhy string // why there is no chain
	skipped      error  // why it was not asked after all
	unknown      *mesh.Unknown
}

// readClock has the client learn the API server's time.
func (l *live) readClock() {
	var version struct{}
	_ = l.client.GetPath(l.ctx, "/version", &version) // any answer tells the time
}

// choose returns the indexes of the peers to ask.
func (l *live) choose() (chosen []int) {
	taken := map[*mesh.Class]int{}
	for _, i := range l.byReadiness() {
		p, a := &l.survey.Peers[i], &l.answers[i]
		about := peerName(p)
		a.presentedWhy = whyNoAnswer
		switch {
		case p.External && l.opts.Dial == nil:
			a.presentedWhy = "it runs outside of the cluster, and was not dialed"
			continue
		case p.External:
		case p.Proxy == (mesh.Process{}):
			a.presentedWhy = "it has no proxy" // the survey says so
			continue
		case !p.Proxy.Running:
			a.presentedWhy = "its proxy does not run"
			a.unknown = &mesh.Unknown{Code: mesh.CodeNotRunning, About: about, Reason: fmt.Sprintf("not asked: its proxy does not run, the pod is %s", phaseText(p))}
			continue
		case p.AdminPort == 0:
			a.presentedWhy = "the admin port of its proxy is not known"
			a.unknown = &mesh.Unknown{Code: mesh.CodeNotObserved, About: about, Reason: "not asked: the admin port of its proxy is not known"}
			continue
		}
		if l.opts.Sample > 0 && p.TrustEvidence == mesh.EvidenceSpec {
			if taken[p.Class] >= l.opts.Sample {
				a.presentedWhy = whyNotSampled
				continue
			}
			taken[p.Class]++
		}
		chosen = append(chosen, i)
	}
	return chosen
}

func phaseText(p *mesh.Peer) string {
	switch {
	case p.Deleting:
		return "being deleted"
	case p.Phase == "":
		return "in no phase"
	}
	return p.Phase
}

func peerName(p *mesh.Peer) string {
	if p.External {
		return "ExternalWorkload " + p.Namespace + "/" + p.Name
	}
	return "pod " + p.Namespace + "/" + p.Name
}

// byReadiness returns the indexes of all peers, those that will answer soonest
// first: of a sample they are the ones that are asked.
func (l *live) byReadiness() []int {
	out := make([]int, len(l.survey.Peers))
	for i := range out {
		out[i] = i
	}
	rank := func(i int) int {
		switch p := &l.survey.Peers[i]; {
		case p.Proxy.Ready && !p.Deleting:
			return 0
		case p.Proxy.Running:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(out, func(a, b int) int { return rank(a) - rank(b) })
	return out
}

// run asks the peers, and the gateways beside them.
func (l *live) run(peers []int) {
	l.all = len(peers)
	if l.opts.Dial != nil {
		l.all += len(l.survey.Gateways)
	}
	config := l.client.Config()
	if config.UserAgent == "" {
		config.UserAgent = "windlass"
	}
	forward, err := portforward.New(config)
	if err != nil {
		l.gaveUp = err
	}
	l.forward = forward
	var g errgroup.Group
	g.SetLimit(l.opts.Parallel)
	for _, i := range peers {
		g.Go(func() error {
			l.askPeer(i)
			l.progress()
			return nil
		})
	}
	for i := range l.survey.Gateways {
		gw := &l.survey.Gateways[i]
		if l.opts.Dial == nil {
			gw.PresentedWhy = "it was not dialed"
			continue
		}
		g.Go(func() error {
			l.gateways[i] = l.askGateway(gw)
			l.progress()
			return nil
		})
	}
	_ = g.Wait()
}

func (l *live) progress() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done++
	l.opts.Progress(l.done, l.all)
}

// conclude tells the survey what it did not learn. What is the same for many
// peers is said once.
func (l *live) conclude() {
	type group struct {
		about string
		code  mesh.Code
		why   string
	}
	counts, order := map[group]int{}, []group(nil)
	errs := map[group]error{}
	for i := range l.answers {
		a := &l.answers[i]
		switch {
		case a.unknown != nil:
			l.survey.Know(*a.unknown)
		case a.skipped != nil:
			g := group{"proxies in namespace " + l.survey.Peers[i].Namespace, liveCode(a.skipped), a.skipped.Error()}
			if g.code != mesh.CodeForbidden {
				g.about = "proxies"
			}
			if counts[g]++; counts[g] == 1 {
				order, errs[g] = append(order, g), a.skipped
			}
		}
	}
	for _, u := range l.gateways {
		if u != nil {
			l.survey.Know(*u)
		}
	}
	for _, g := range order {
		l.survey.Know(mesh.Unknown{Code: g.code, About: g.about, Reason: fmt.Sprintf("%d were not asked, or in vain: %s", counts[g], g.why), Err: errs[g]})
	}
}
