package linkerd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// Options tune a survey. The zero value works.
type Options struct {
	// Namespaces are where to look for a control plane if ConfigMaps may not be
	// listed across the cluster. Default: linkerd.
	Namespaces []string
	// Lag is how long a changed ConfigMap may take to reach a kubelet's files
	// and environments. Default 2 minutes.
	Lag time.Duration
	// NodeSkew is by how much a node's clock may differ from the API server's.
	// Default 30 s.
	NodeSkew time.Duration
	// Credentials say what the credentials of Links may do.
	Credentials CredentialOptions
}

func (o Options) withDefaults() Options {
	if len(o.Namespaces) == 0 {
		o.Namespaces = []string{"linkerd"}
	}
	if o.Lag <= 0 {
		o.Lag = 2 * time.Minute
	}
	if o.NodeSkew <= 0 {
		o.NodeSkew = 30 * time.Second
	}
	return o
}

// survey is one survey in the making.
type survey struct {
	ctx    context.Context
	c      *mesh.Client
	opts   Options
	out    *mesh.Survey
	texts  mesh.Texts
	dec    *wire.Decoder
	planes map[string]*plane // by namespace

	raw       []rawTrust // of each peer
	tlsNames  map[[3]string]string
	templates []owned
	classes   map[classKey]*mesh.Class
	workloads map[string]*mesh.Workload // by UID
	seen      map[string]owned          // workloads by UID
	blind     map[string]bool           // kinds that could not be listed
}

// Survey reads a cluster. It fails at nothing: what it could not read stands
// among the survey's unknowns, each with its reason, and a cluster that does not
// answer gives a survey that says so. It ends when ctx does.
func Survey(ctx context.Context, cluster *mesh.Cluster, opts Options) *mesh.Survey {
	s := &survey{
		ctx: ctx, c: cluster.Client, opts: opts.withDefaults(), dec: newDecoder(),
		out:       &mesh.Survey{Name: cluster.Name, Identity: cluster.Identity, Server: cluster.Client.Server()},
		planes:    map[string]*plane{},
		tlsNames:  map[[3]string]string{},
		classes:   map[classKey]*mesh.Class{},
		workloads: map[string]*mesh.Workload{},
		seen:      map[string]owned{},
		blind:     map[string]bool{},
	}
	before := s.c.Stats()
	if s.identity() {
		s.readControlPlanes()
		s.readPods()
		s.readWorkloads()
		s.finishControlPlanes()
		s.readCertificates()
		s.classify()
		s.readExternalWorkloads()
		s.readLinks()
		s.readGateways()
	}
	after := s.c.Stats()
	s.out.Ended = s.c.ServerTime()
	s.out.Cost = mesh.Stats{Requests: after.Requests - before.Requests, Bytes: after.Bytes - before.Bytes}
	return s.out
}

// identity makes the first requests, and reports whether there is somebody to
// ask more.
func (s *survey) identity() bool {
	id, err := mesh.ReadIdentity(s.ctx, s.c)
	s.out.Begun = s.c.ServerTime()
	s.out.Reached = id != (mesh.Identity{}) || !s.out.Begun.IsZero()
	if id.UID != "" {
		s.out.UID = id.UID
	}
	if id.ServiceUID != "" {
		s.out.ServiceUID = id.ServiceUID
	}
	if err != nil {
		s.out.Know(mesh.UnknownFrom("identity of the cluster", err))
	}
	switch {
	case !s.out.Reached, errors.Is(err, mesh.ErrUnauthorized), s.ctx.Err() != nil:
		return false
	case id == mesh.Identity{} && !errors.Is(err, mesh.ErrForbidden):
		return false // it answers, but not sensibly: asking twenty times more is no use
	}
	return true
}

// unknown notes an error and reports whether there was one.
func (s *survey) unknown(about string, err error) bool {
	if err == nil {
		return false
	}
	s.out.Know(mesh.UnknownFrom(about, err))
	return true
}

// readControlPlanes finds every linkerd-config and what stands beside it.
func (s *survey) readControlPlanes() {
	var found []configMap
	err := s.c.ListJSON(s.ctx, mesh.ConfigMaps, mesh.ListOptions{Fields: "metadata.name=" + configName}, func() { found = nil }, decode(&found))
	if err != nil {
		s.out.Know(mesh.Unknown{Code: mesh.CodeOf(err), About: "control planes", Err: err,
			Reason: fmt.Sprintf("%v; looked in namespace %s only", err, strings.Join(s.opts.Namespaces, ", "))})
		found = nil
		for _, ns := range s.opts.Namespaces {
			var cm configMap
			if err := s.c.Get(s.ctx, mesh.ConfigMaps, ns, configName, &cm); err == nil {
				found = append(found, cm)
			} else if !errors.Is(err, mesh.ErrNotFound) {
				s.unknown("ConfigMap "+ns+"/"+configName, err)
			}
		}
	}
	for _, cm := range found {
		p := s.readPlane(cm)
		s.planes[p.Namespace] = p
		s.out.Installations = append(s.out.Installations, p.Installation)
	}
	var names []string
	for _, i := range s.out.Installations {
		names = append(names, i.Namespace)
	}
	switch {
	case len(names) == 0 && err == nil:
		s.out.Know(mesh.Unknown{Code: mesh.CodeNoLinkerd, About: "control plane", Reason: "the cluster has no ConfigMap " + configName + ": Linkerd is not installed"})
	case len(names) > 1:
		s.out.Know(mesh.Unknown{Code: mesh.CodeTwoInstalls, About: "control planes", Reason: "there are several: namespaces " + strings.Join(names, ", ")})
	}
}

// strangers notes the control planes that pods name and that are not there.
func (s *survey) strangers() {
	count := map[string]int{}
	for _, c := range s.out.Classes {
		if s.planes[c.Installation] == nil {
			count[c.Installation] += c.Peers + c.Latent
		}
	}
	var names []string
	for ns := range count {
		names = append(names, ns)
	}
	slices.Sort(names)
	for _, ns := range names {
		s.out.Know(mesh.Unknown{Code: mesh.CodeNoPlane, About: "control plane " + ns,
			Reason: fmt.Sprintf("%d pods or templates belong to it, and no ConfigMap %s/%s was seen", count[ns], ns, configName)})
	}
}
