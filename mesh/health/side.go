package health

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/mesh"
)

// lag is how long a changed object may take to reach kubelets' files; skew by
// how much a node's clock may be off. They are those of a survey's defaults.
const (
	lag  = 2 * time.Minute
	skew = 30 * time.Second
)

// party is a group of peers that share a trust set, or what such peers will be
// given.
type party struct {
	trust   *mesh.TrustSet // nil is unknown, why says why
	why     string
	release string
	peers   []*mesh.Peer
	latent  int  // templates with a proxy of their own
	stored  bool // not peers: what new ones are given
	// seen means that what these peers present was seen, so that it is not to be
	// inferred.
	seen bool
	// proved means that a peer whose trust set is unknown has shown that it
	// verifies what its own issuer signs.
	proved bool
}

// String says who they are: how many, and some of their workloads.
func (p *party) String() string {
	switch {
	case p.stored:
		return "new pods"
	case len(p.peers) == 0:
		return fmt.Sprintf("%d templates with a proxy of their own", p.latent)
	}
	return crowd(p.peers)
}

// crowd names peers by their workloads: "3 pods of Deployment emojivoto/web and
// 2 more workloads".
func crowd(peers []*mesh.Peer) string {
	var names []string
	for _, p := range peers {
		name := "pod " + p.Namespace + "/" + p.Name
		if p.Workload != nil {
			name = p.Workload.String()
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	more := ""
	if len(names) > 2 {
		more = fmt.Sprintf(" and %d more workloads", len(names)-2)
		names = names[:2]
	}
	noun := "pods"
	if len(peers) == 1 {
		noun = "pod"
	}
	return fmt.Sprintf("%d %s of %s%s", len(peers), noun, strings.Join(names, ", "), more)
}

// side is what the peers of one control plane bring to a handshake.
type side struct {
	name    string // of the cluster
	parties []*party
	chains  []Chain
	// unsure is why peers may present something else than chains, "" where they
	// cannot.
	unsure string
}

// sideOf collects the peers of a control plane that keep wants, together with
// what new pods are given.
func sideOf(s *mesh.Survey, i *mesh.Installation, keep func(*mesh.Peer) bool) *side {
	out := &side{name: s.Name}
	peers := map[*mesh.Class][]*mesh.Peer{}
	for n := range s.Peers {
		if p := &s.Peers[n]; keep(p) {
			peers[p.Class] = append(peers[p.Class], p)
		}
	}
	for _, c := range s.Classes {
		if c.Installation != i.Namespace {
			continue
		}
		if c.Presented != nil && len(peers[c]) > 0 {
			out.chains = append(out.chains, Seen(c.Presented.Chain))
		}
		switch {
		case len(peers[c]) == 0 && c.Latent == 0:
		case c.Trust == nil:
			out.parties = append(out.parties, unknownParties(s, c, peers[c], i)...)
		default:
			out.parties = append(out.parties, &party{trust: c.Trust, release: c.Release, peers: peers[c], latent: c.Latent, seen: c.Presented != nil})
		}
	}
	for _, c := range i.CopiesFor(mesh.NewPods) {
		if c.Trust != nil {
			out.parties = append(out.parties, &party{trust: c.Trust, release: i.Release, stored: true})
		}
	}
	if i.Issuer != nil && i.Issuer.Err == nil && len(i.Issuer.Chain) > 0 {
		out.chains = append(out.chains, SignedBy(i.Issuer.Chain))
	}
	out.unsure = doubt(s, i)
	return out
}

// unknownParties splits the peers of a class whose trust set is not known by
// what can be said about them all the same.
func unknownParties(s *mesh.Survey, c *mesh.Class, peers []*mesh.Peer, i *mesh.Installation) (out []*party) {
	proved, open := &party{why: c.TrustWhy, release: c.Release, proved: true, seen: c.Presented != nil}, &party{why: c.TrustWhy, release: c.Release, seen: c.Presented != nil}
	young := youngIdentities(s, i)
	for _, p := range peers {
		switch {
		case !p.External && !p.Proxy.Running && p.Proxy.StartedAt.IsZero() && p.Component != "":
			// It takes what is stored when it starts.
		case verified(i, p, young):
			proved.peers = append(proved.peers, p)
		default:
			open.peers = append(open.peers, p)
		}
	}
	if len(peers) == 0 {
		open.latent = c.Latent
		return []*party{open}
	}
	for _, p := range []*party{proved, open} {
		if len(p.peers) > 0 {
			out = append(out, p)
		}
	}
	return out
}

// verified reports whether a peer that is ready has shown that it verifies what
// the stored issuer signs: a proxy gets ready with its first leaf, which it
// refuses where its own anchors do not verify it. The issuer has to be older than
// the proxy, by the kubelet's lag, or than every identity that could have signed
// (of a new control plane all is of one minute).
func verified(i *mesh.Installation, p *mesh.Peer, young bool) bool {
	if !p.Proxy.Ready || i.Issuer == nil || i.Issuer.Err != nil || i.Issuer.ChangedAt.IsZero() {
		return false
	}
	changed := i.Issuer.ChangedAt
	return p.Proxy.StartedAt.After(changed.Add(lag+skew)) || young && !p.Created.Before(changed)
}

// youngIdentities reports whether every pod of linkerd-identity is younger than
// the stored issuer.
func youngIdentities(s *mesh.Survey, i *mesh.Installation) bool {
	return i.Issuer != nil && !slices.ContainsFunc(s.Peers, func(p mesh.Peer) bool {
		return p.Identity != nil && p.Class.Installation == i.Namespace && p.Created.Before(i.Issuer.ChangedAt)
	})
}

// doubt says why peers may present a chain that is not the stored issuer's, ""
// where all do: every leaf was signed after the issuer had reached identity.
func doubt(s *mesh.Survey, i *mesh.Installation) string {
	switch {
	case i.Issuer == nil:
		return "the issuer could not be read"
	case i.Issuer.Err != nil:
		return fmt.Sprintf("linkerd-identity does not take the stored issuer (%v) and goes on with the one it has", i.Issuer.Err)
	case i.Issuer.ChangedAt.IsZero():
		return "when the issuer was last changed is not known"
	case s.Ended.IsZero():
		return "what time it is for the API server is not known"
	}
	changed := i.Issuer.ChangedAt
	identities, older := 0, 0
	for n := range s.Peers {
		if p := &s.Peers[n]; p.Identity != nil && p.Class.Installation == i.Namespace {
			identities++
			// Moments are to the second. A pod of the same second mounts the Secret
			// later, when it has been scheduled.
			if p.Created.Before(changed) {
				older++
			}
		}
	}
	switch {
	case identities == 0:
		return "no process of linkerd-identity was seen"
	case older > 0:
		return fmt.Sprintf("%d of %d linkerd-identity pods are older than the issuer (changed %s) and may not have taken it up", older, identities, stamp(changed))
	case i.IssuanceLifetime == 0:
		return "how long leaves live is not known"
	}
	// Leaves that were signed before die of age; pods that are younger than the
	// issuer never had one.
	if alive := changed.Add(lag + i.IssuanceLifetime + 2*i.ClockSkew); s.Ended.Before(alive) {
		for n := range s.Peers {
			if p := &s.Peers[n]; p.Class.Installation == i.Namespace && p.Identity == nil && p.Created.Before(changed) {
				return fmt.Sprintf("the issuer changed %s: leaves of a former one may live until %s", stamp(changed), stamp(alive))
			}
		}
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
