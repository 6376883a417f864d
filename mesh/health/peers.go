package health

import (
	"fmt"
	"slices"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// peers judges the handshakes within a cluster: what the peers of one control
// plane trust, against what they present.
func (c *checker) peers(i *mesh.Installation) {
	all := sideOf(c.survey, i, func(p *mesh.Peer) bool { return p.Class.Installation == i.Namespace })
	all.name = ""
	for _, q := range all.parties {
		if q.trust == nil {
			c.unknownTrust(i, q)
			continue
		}
		c.party(i, all, q)
	}
	c.identities(i)
	c.injected(i, all)
}

// restartHint names what has to restart, by what it takes.
func restartHint(peers []*mesh.Peer) string {
	for _, p := range peers {
		if w := p.Workload; w != nil && w.Method != mesh.RestartRolling {
			return "restart them; `windlass survey` says what each workload takes (" + w.String() + ": " + w.Why + ")"
		}
	}
	if len(peers) > 0 && peers[0].Workload != nil {
		w := peers[0].Workload
		return fmt.Sprintf("restart them: `kubectl -n %s rollout restart %s/%s`; `windlass survey` lists all", w.Namespace, lower(w.Kind), w.Name)
	}
	return "`windlass survey` says what each workload takes to restart"
}

func lower(kind string) string {
	b := []byte(kind)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func (c *checker) party(i *mesh.Installation, all *side, q *party) {
	if q.trust.Err != nil && !q.stored {
		c.add(bundle.LevelError, bundle.CodeUnreadableByProxy, q.String(), restartHint(q.peers), "a proxy with these anchors does not start: %v", q.trust.Err)
		return
	}
	for _, chain := range all.chains {
		a := c.Verifies(chain, q.trust, q.release)
		if a.OK {
			continue
		}
		hint := restartHint(q.peers)
		if stored := i.CopiesFor(mesh.NewPods); q.stored || len(stored) > 0 && same(stored[0].Trust, q.trust) {
			hint = "a restart alone does not help: new pods are given the same anchors; merge the anchor that is missing into them: `windlass bundle merge`"
		}
		c.add(bundle.LevelError, CodePeerUntrusted, q.String(), hint, "not accepted here are %s: %s", chain, a.Reason)
		return
	}
	if all.unsure != "" && !q.stored {
		if why := unsure(all, q); why != "" {
			c.add(bundle.LevelError, CodeChainUnseen, q.String(), "restart linkerd-identity, one pod at a time, and wait until every leaf is renewed; `windlass survey` shows who trusts what", "%s", why)
		}
	}
	for _, a := range q.trust.Anchors {
		if _, end := a.Validity(); !q.stored && end.Before(c.at) && !storedHolds(i, a) {
			c.add(bundle.LevelWarning, CodeExpiredTrusted, q.String(), restartHint(q.peers), "they trust the anchor %s, which expired on %s and is not handed out any more", a, stamp(end))
		}
	}
}

func storedHolds(i *mesh.Installation, a *bundle.Certificate) bool {
	for _, cp := range i.CopiesFor(mesh.NewPods) {
		if cp.Trust != nil && slices.ContainsFunc(cp.Trust.Anchors, func(b *bundle.Certificate) bool { return b.AnchorID() == a.AnchorID() }) {
			return true
		}
	}
	return false
}

// unknownTrust names peers that cannot be judged.
func (c *checker) unknownTrust(i *mesh.Installation, q *party) {
	level, tail := bundle.LevelError, ""
	switch {
	case q.proved:
		level, tail = bundle.LevelWarning, "; they verify the present issuer, for they got ready with it"
	case len(q.peers) > 0 && q.peers[0].External:
		level = bundle.LevelWarning
	case len(q.peers) > 0 && !slices.ContainsFunc(q.peers, func(p *mesh.Peer) bool { return p.Proxy.Running }):
		level = bundle.LevelWarning
	case i.Issuer == nil:
		level = bundle.LevelError
	}
	c.add(level, CodeTrustUnknown, q.String(), restartHint(q.peers), "what they trust is not known: %s%s", q.why, tail)
}

// identities judges what each process of linkerd-identity holds the issuer
// against: the anchors that it read when it started.
func (c *checker) identities(i *mesh.Installation) {
	hint := fmt.Sprintf("restart it: `kubectl -n %s rollout restart deployment/linkerd-identity`; no other pod has to restart for that", i.Namespace)
	for _, cp := range i.CopiesFor(mesh.IdentityRoots) {
		if cp.Trust == nil || cp.Container != "" {
			continue // it carries its own copy, and a change restarts it
		}
		var other *mesh.TrustSet
		var differ, before, near []*mesh.Peer
		for n := range c.survey.Peers {
			p := &c.survey.Peers[n]
			if p.Identity == nil || p.Class.Installation != i.Namespace || p.Identity.StartedAt.IsZero() {
				continue
			}
			switch started := p.Identity.StartedAt; {
			case p.Identity.Roots != nil && !same(p.Identity.Roots, cp.Trust):
				differ, other = append(differ, p), p.Identity.Roots
			case p.Identity.Roots != nil:
			case started.Before(cp.ChangedAt.Add(-skew)):
				before = append(before, p)
			case started.Before(cp.ChangedAt.Add(skew)) && p.Created.Before(cp.ChangedAt):
				near = append(near, p)
			}
		}
		if len(differ) > 0 {
			c.add(bundle.LevelWarning, CodeIdentityBehind, crowd(differ), hint,
				"linkerd-identity runs with other anchors than %s holds: %s", cp.Object, difference(other, cp.Trust))
		}
		if len(before) > 0 {
			c.add(bundle.LevelWarning, CodeIdentityBehind, crowd(before), hint,
				"linkerd-identity reads the anchors when it starts, and %s changed %s, after that: it may refuse an issuer under the new ones", cp.Object, stamp(cp.ChangedAt))
		}
		if len(near) > 0 {
			c.add(bundle.LevelInfo, CodeIdentityBehind, crowd(near), hint,
				"linkerd-identity started within the clocks' difference of the last change of %s (%s): it may hold either text", cp.Object, stamp(cp.ChangedAt))
		}
	}
}

// injected compares what pods were given with what is handed out now, anchor by
// anchor.
func (c *checker) injected(i *mesh.Installation, all *side) {
	stored := i.CopiesFor(mesh.NewPods)
	if len(stored) == 0 || stored[0].Trust == nil {
		return
	}
	now, changed := stored[0], stored[0].ChangedAt
	for _, q := range all.parties {
		if q.trust == nil || q.stored || q.trust.Err != nil {
			continue
		}
		lacks := !holdsAll(q.trust, now.Trust)
		if !lacks && holdsAll(now.Trust, q.trust) {
			continue
		}
		var late, old []*mesh.Peer
		for _, p := range q.peers {
			injected := p.Workload == nil || p.Workload.Method != mesh.RestartReinject
			switch {
			case p.Component != "" && p.TrustEvidence != mesh.EvidenceSpec: // not given by an injector
			case injected && !changed.IsZero() && p.Created.After(changed.Add(lag)):
				late = append(late, p)
			default:
				old = append(old, p)
			}
		}
		if len(late) > 0 {
			c.add(bundle.LevelError, CodeInjectorBehind, crowd(late), fmt.Sprintf("restart the injector: `kubectl -n %s rollout restart deployment/linkerd-proxy-injector`, then these pods", i.Namespace),
				"they were made after %s changed (%s) and were given other anchors: %s", now.Object, stamp(changed), difference(q.trust, now.Trust))
		}
		switch {
		case len(old) == 0:
		case lacks:
			c.add(bundle.LevelWarning, CodeRestartNeeded, crowd(old), restartHint(old), "they were given other anchors than %s holds now: %s", now.Object, difference(q.trust, now.Trust))
		default:
			c.add(bundle.LevelInfo, CodeRestartNeeded, crowd(old), restartHint(old), "they trust more than %s holds now: %s", now.Object, difference(q.trust, now.Trust))
		}
	}
}
