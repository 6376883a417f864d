package linkerd

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/layout"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/internal/wire"
)

// rawTrust is where a peer's anchors come from, until every copy is known.
type rawTrust struct {
	plane, release string
	proxy          bool // there is a proxy container
	entries        int  // of the variable
	value          string
	ref            *wire.KeyRef
	owner          *wire.Owner // of the pod
	static         bool
	gateway        bool

	identityText    string // in base64, of 2.9 and 2.10
	identityLiteral bool
}

// readPods reads every meshed pod. Those that have run to their end are
// counted, no more: they hold no connection.
func (s *survey) readPods() {
	restart := func() { s.out.Peers, s.raw, s.out.Finished = nil, nil, 0 }
	err := s.c.List(s.ctx, mesh.Pods, mesh.ListOptions{Labels: labelControlPlane}, restart, func(b []byte) error {
		pod, err := s.dec.Pod(b)
		if err != nil {
			return err
		}
		if pod.Phase == "Succeeded" || pod.Phase == "Failed" {
			s.out.Finished++
			return nil
		}
		s.addPod(&pod)
		return nil
	})
	s.oldest(s.unknown("meshed pods", err))
}

// oldest compares the pods with the trust roots of their control planes. Where
// one is older than the roots there was a control plane before this one, and so,
// maybe, another text under the same name. partly is whether pods were missed.
func (s *survey) oldest(partly bool) {
	for _, p := range s.planes {
		if partly {
			p.since = time.Time{}
		}
	}
	for i := range s.out.Peers {
		if p := s.planes[s.raw[i].plane]; p != nil && s.out.Peers[i].Created.Before(p.since) {
			p.since = time.Time{}
		}
	}
}

func (s *survey) addPod(pod *wire.Pod) {
	p := mesh.Peer{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ServiceAccount: pod.ServiceAccount,
		Component: pod.Labels[labelComponent], Node: pod.Node, IP: pod.IP, HostNetwork: pod.HostNetwork,
		Phase: pod.Phase, Created: pod.Created, Deleting: !pod.Deleted.IsZero(),
	}
	r := rawTrust{
		plane: pod.Labels[labelControlPlane], release: pod.Annotations[annotationProxyVersion], owner: pod.Controller(),
		static: pod.Annotations[annotationMirror] != "", gateway: pod.Annotations[annotationGateway] == "true",
	}
	for i := range pod.Containers {
		switch c := &pod.Containers[i]; c.Name {
		case layout.ProxyContainer:
			p.Proxy = processOf(c)
			r.fromProxy(c)
			p.TLSName = s.tlsName(c.Env, pod.ServiceAccount, pod.Namespace)
			p.AdminPort = adminPort(c.Env)
		case identityContainer:
			if p.Component == identityContainer {
				p.Identity = identityOf(c)
				r.identityText, r.identityLiteral = identityLiteral(c)
			}
		}
	}
	// Peers are large and many: doubling wastes less than append's own growth.
	if n := len(s.out.Peers); n == cap(s.out.Peers) {
		s.out.Peers, s.raw = slices.Grow(s.out.Peers, max(n, 64)), slices.Grow(s.raw, max(n, 64))
	}
	s.out.Peers = append(s.out.Peers, p)
	s.raw = append(s.raw, r)
}

func (r *rawTrust) fromProxy(c *wire.Container) {
	e, n := lastEnv(c.Env, layout.ProxyAnchorsEnv)
	r.proxy, r.entries, r.value, r.ref = true, n, e.Value, e.Ref
	if r.release == "" {
		// Pods of 2.11 and older control planes carry no such annotation.
		if _, tag, ok := cutLast(c.Image, ":"); ok && !strings.Contains(tag, "/") {
			r.release = tag
		}
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func processOf(c *wire.Container) mesh.Process {
	return mesh.Process{Image: c.Image, Native: c.Init, Running: c.Running, Ready: c.Ready, Restarts: c.Restarts, StartedAt: c.StartedAt}
}

// identityOf reads the arguments of linkerd-identity. A flag that is not given
// stays zero: the chart's value then counts.
func identityOf(c *wire.Container) *mesh.IdentityProcess {
	p := &mesh.IdentityProcess{Process: processOf(c)}
	p.Scheme, _ = flagOf(c.Args, flagScheme)
	if v, ok := flagOf(c.Args, flagLifetime); ok {
		p.IssuanceLifetime, _ = time.ParseDuration(v)
	}
	if v, ok := flagOf(c.Args, flagSkew); ok {
		p.ClockSkew, _ = time.ParseDuration(v)
	}
	return p
}

// tlsName returns the name in the certificate of a proxy: the value of its
// variable with what it refers to filled in, as kubelet does. Up to 2.10 it
// refers to the namespace and trust domain as well.
func (s *survey) tlsName(env []wire.EnvVar, account, namespace string) string {
	name, n := lastEnv(env, envLocalName)
	if n == 0 || name.Ref != nil {
		return ""
	}
	if account == "" {
		account = "default"
	}
	key := [3]string{name.Value, account, namespace}
	if known, ok := s.tlsNames[key]; ok {
		return known
	}
	out := strings.ReplaceAll(strings.ReplaceAll(name.Value, "$(_pod_sa)", account), "$(_pod_ns)", namespace)
	for _, v := range []string{envNamespace, envTrustDomain} {
		if !strings.Contains(out, "$("+v+")") {
			continue
		}
		e, n := lastEnv(env, v)
		if n == 0 || e.Ref != nil {
			return ""
		}
		// Not remembered: another pod may have another value.
		out = strings.ReplaceAll(out, "$("+v+")", e.Value)
		key = [3]string{}
	}
	if strings.Contains(out, "$(") {
		out = ""
	}
	if key[0] != "" {
		s.tlsNames[key] = out
	}
	return out
}

// adminPort returns the port that a proxy listens on for questions about itself.
// The chart gives every proxy its address (values proxy.ports.admin).
func adminPort(env []wire.EnvVar) int {
	e, n := lastEnv(env, envAdminAddress)
	if n == 0 {
		return 4191 // linkerd2-proxy linkerd/app/src/env.rs, DEFAULT_ADMIN_LISTEN_ADDR
	}
	_, text, _ := cutLast(e.Value, ":")
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return 0
	}
	return int(port)
}

// classKey is what peers must share to be one class.
type classKey struct{ plane, release, trust string }

// classify puts each peer and each template with a proxy of its own into its
// class.
func (s *survey) classify() {
	for i := range s.out.Peers {
		p, r := &s.out.Peers[i], &s.raw[i]
		trust, why, evidence := s.trustOf(r, p.Namespace, &p.Proxy)
		p.Class = s.class(r.plane, r.release, trust, why)
		p.Class.Peers++
		p.TrustEvidence = evidence
		if p.Identity != nil {
			s.identityRoots(p, r)
		}
		s.attach(i)
	}
	s.latent()
	s.strangers()
	s.raw = nil
}

func (s *survey) class(plane, release string, trust *mesh.TrustSet, why string) *mesh.Class {
	key := classKey{plane, release, "?" + why}
	if trust != nil {
		key.trust = trust.ID
	}
	c := s.classes[key]
	if c == nil {
		c = &mesh.Class{Installation: plane, Release: release, Trust: trust, TrustWhy: why, PresentedWhy: "nobody asked for the chain that it presents"}
		s.classes[key] = c
		s.out.Classes = append(s.out.Classes, c)
	}
	return c
}

// trustOf returns the trust set of a proxy, or why it is not known. proxy is
// nil for a template.
func (s *survey) trustOf(r *rawTrust, namespace string, proxy *mesh.Process) (*mesh.TrustSet, string, mesh.Evidence) {
	switch {
	case !r.proxy:
		return nil, "labelled as meshed, but there is no container " + layout.ProxyContainer, mesh.EvidenceNone
	case r.entries == 0:
		return nil, "its proxy is given no trust anchors: no variable " + layout.ProxyAnchorsEnv, mesh.EvidenceNone
	case r.ref == nil && strings.Contains(r.value, "$("):
		return nil, "the variable refers to other variables", mesh.EvidenceNone
	case r.ref == nil:
		return s.texts.TrustSet(r.value, r.release), "", mesh.EvidenceSpec
	}
	where := fmt.Sprintf("%s %s key %s", r.ref.Kind, r.ref.Name, r.ref.Key)
	if r.ref.Kind != "ConfigMap" || r.ref.Name != rootsName || r.ref.Key != rootsKey {
		return nil, "its anchors stand in " + where + ", which was not read", mesh.EvidenceNone
	}
	stored := s.stored(namespace, string(layout.StoreTrustRoots))
	switch {
	case stored == nil || stored.Trust == nil:
		return nil, "its anchors stand in " + where + ", which could not be read", mesh.EvidenceNone
	case proxy == nil:
		return nil, "it takes its anchors from " + where + " when it starts", mesh.EvidenceNone
	}
	return s.atStart(stored, where, proxy, r.release, namespace)
}

// stored returns the copy of one kind in a control plane's namespace.
func (s *survey) stored(namespace, store string) *mesh.Copy {
	if plane := s.planes[namespace]; plane != nil {
		for i := range plane.Copies {
			if plane.Copies[i].Store == store {
				return &plane.Copies[i]
			}
		}
	}
	return nil
}

// atStart returns what a process took from a place when it started, if that can
// be told from when the place was last changed.
func (s *survey) atStart(stored *mesh.Copy, where string, process *mesh.Process, release, namespace string) (*mesh.TrustSet, string, mesh.Evidence) {
	switch started := process.StartedAt; {
	case started.IsZero():
		return nil, "it does not run yet, and takes what " + where + " holds when it starts", mesh.EvidenceNone
	case stored.Store == string(layout.StoreTrustRoots) && !s.planes[namespace].since.IsZero():
		// Never changed. A container does not start before the ConfigMap is there,
		// so there is no lag to allow for, nor does the node's clock matter.
		return s.texts.TrustSet(stored.Trust.PEM, release), "", mesh.EvidenceInferred
	case stored.ChangedAt.IsZero():
		return nil, "it took what " + where + " held when it started, and when that was changed is not known", mesh.EvidenceNone
	case started.After(stored.ChangedAt.Add(s.opts.Lag + s.opts.NodeSkew)):
		return s.texts.TrustSet(stored.Trust.PEM, release), "", mesh.EvidenceInferred
	case started.Before(stored.ChangedAt.Add(-s.opts.NodeSkew)):
		return nil, "it started before " + where + " was last changed", mesh.EvidenceNone
	}
	return nil, "it started so close to the last change of " + where + " that it may hold either text", mesh.EvidenceNone
}

// identityLiteral returns identity's own copy of the anchors, of 2.9 and 2.10.
func identityLiteral(c *wire.Container) (text string, ok bool) {
	if text, ok = flagOf(c.Args, flagIdentityRoots); ok {
		return text, true
	}
	e, n := lastEnv(c.Env, envIdentityRoots)
	return e.Value, n > 0 && e.Ref == nil
}

// identityRoots says what a process of linkerd-identity holds the issuer
// against. It reads a mounted file, so a container that was restarted in an old
// pod may read an old text: the pod's age would not help, its own start does,
// with the kubelet's lag.
func (s *survey) identityRoots(p *mesh.Peer, r *rawTrust) {
	id := p.Identity
	if r.identityLiteral {
		text, err := layout.DecodeBase64(r.identityText)
		if err != nil {
			id.RootsWhy = "its own copy is not valid base64"
			return
		}
		id.Roots, id.RootsEvidence = s.texts.TrustSet(text, r.release), mesh.EvidenceSpec
		return
	}
	for _, store := range []layout.Store{layout.StoreTrustRoots, layout.StoreLinkerdConfig} {
		c := s.stored(p.Namespace, string(store))
		if c == nil || !c.For(mesh.IdentityRoots) {
			continue
		}
		if c.Trust == nil {
			break
		}
		id.Roots, id.RootsWhy, id.RootsEvidence = s.atStart(c, c.Object.String(), &id.Process, r.release, p.Namespace)
		return
	}
	id.RootsWhy = "the place that it takes its anchors from could not be read"
}
