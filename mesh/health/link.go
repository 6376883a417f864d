package health

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// Verdict on a Link.
type Verdict string

// The verdicts.
const (
	// Sound: both directions are proved.
	Sound Verdict = "sound"
	// Broken: at least one direction is proved not to work.
	Broken Verdict = "broken"
	// Unknown: neither; what is not known stands in the reason.
	Unknown Verdict = "unknown"
	// Expiring: sound, and soon no more.
	Expiring Verdict = "expiring"
)

// Via says how the other side of a Link was seen.
type Via string

// The ways, best first.
const (
	ViaMember      Via = "member"      // it is a cluster of the fleet
	ViaCredentials Via = "credentials" // with the Link's own credentials
	ViaNothing     Via = ""
)

// LinkReport is the verdict on a Link, in both directions. Its JSON form is part
// of the command line's contract.
type LinkReport struct {
	Cluster   string  `json:"cluster"`
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Target    string  `json:"target"`
	Verdict   Verdict `json:"verdict"`
	// ToTarget says whether the target's peers accept what this cluster's
	// present, FromTarget whether this cluster's accept the target's. Every call
	// takes both: client and server each verify the other.
	ToTarget   Direction `json:"toTarget"`
	FromTarget Direction `json:"fromTarget"`
	// SharedAnchors are those that every trust set of both sides holds.
	SharedAnchors []string `json:"sharedAnchors"`

	Hints []string `json:"hints,omitempty"`
	Until string   `json:"until,omitempty"` // RFC3339; until when it is sound
	Via   Via      `json:"via,omitempty"`

	// End is Until as a moment, and OnlyExpired that no anchor which the chains
	// lead to is valid now: proxies do not look at an anchor's dates.
	End         time.Time `json:"-"`
	OnlyExpired bool      `json:"-"`
}

// Outside are the surveys made with a Link's own credentials, of targets that
// are no members of the fleet.
type Outside map[*mesh.Link]*mesh.Survey

// Links judges every Link of a fleet. A Link that is sound is expiring when it
// ceases to be within the time given; 0 leaves that to the certificates: a third
// of their validity, at most 60 days.
func (j *Judge) Links(f *mesh.Fleet, outside Outside, within time.Duration) []LinkReport {
	out := []LinkReport{}
	for _, s := range f.Surveys {
		if slices.Contains(f.Twice(), s) {
			continue
		}
		for _, l := range s.Links {
			out = append(out, j.Link(f, s, l, outside[l], within))
		}
	}
	return out
}

// Link judges one Link of the cluster surveyed. other is the target as its own
// credentials show it, nil where that was not asked; a member of the fleet is
// known better than that.
func (j *Judge) Link(f *mesh.Fleet, s *mesh.Survey, l *mesh.Link, other *mesh.Survey, within time.Duration) LinkReport {
	r := LinkReport{
		Cluster: s.Name, Namespace: l.Object.Namespace, Name: l.Object.Name, Target: l.Target, Via: ViaMember, SharedAnchors: []string{},
	}
	target := f.Target(l)
	if target == nil || !target.Reached {
		target, r.Via = other, ViaCredentials
	}
	if target == nil || !target.Reached {
		return r.unknown(ViaNothing, "the target cluster could not be seen: "+unseen(l, target), linkHint(l))
	}
	if target.Same(s.Identity) {
		return r.unknown(r.Via, "its credentials lead back to the cluster it stands in", "make the Link anew, in the target: `linkerd multicluster link-gen`")
	}
	here, err := installation(s, "")
	if err != nil {
		return r.unknown(r.Via, fmt.Sprintf("%s: %v", s.Name, err), "`windlass survey` shows what was seen of each cluster")
	}
	there, err := installation(target, l.TargetNamespace)
	if err != nil {
		return r.unknown(r.Via, fmt.Sprintf("%s: %v", target.Name, err), "`windlass survey` with a context of the target shows more; see targetClusterLinkerdNamespace of the Link")
	}
	ours, theirs := sideOf(s, here, travels(here)), sideOf(target, there, meets(target, there, l))
	if r.Via == ViaCredentials {
		theirs.name = l.Target
	}
	r.ToTarget, r.FromTarget = j.accept(ours, theirs), j.accept(theirs, ours)
	r.SharedAnchors = shared(ours, theirs)
	r.conclude(j, within, slices.Concat(ours.chains, theirs.chains))
	return r
}

func (r LinkReport) unknown(via Via, reason, hint string) LinkReport {
	r.Verdict, r.Via = Unknown, via
	r.ToTarget, r.FromTarget = Direction{Reason: reason}, Direction{Reason: reason}
	r.Hints = []string{hint}
	return r
}

// conclude makes one verdict of both directions.
func (r *LinkReport) conclude(j *Judge, within time.Duration, chains []Chain) {
	to, from := r.ToTarget, r.FromTarget
	switch {
	case to.Known && !to.OK || from.Known && !from.OK:
		r.Verdict = Broken
		r.Hints = append(r.Hints, "let both clusters trust the anchors of both: `windlass bundle merge` makes the bundle; after it is in place, restart the control planes and then the meshed pods that `windlass survey` shows without it")
		return
	case !to.OK || !from.OK:
		r.Verdict = Unknown
		hint := "`windlass survey` lists what is not known, with the reason"
		if r.Via == ViaCredentials {
			hint = "add a --context of the target: with the Link's own credentials its issuer and its control plane are not to be seen"
		}
		r.Hints = append(r.Hints, hint)
		return
	}
	r.Verdict = Sound
	r.End = to.Until
	if r.End.IsZero() || !from.Until.IsZero() && from.Until.Before(r.End) {
		r.End = from.Until
	}
	if !r.End.IsZero() {
		r.Until = r.End.UTC().Format(time.RFC3339)
		ending := r.End.Before(j.at.Add(within))
		for _, c := range chains {
			for _, cert := range c.certs {
				_, end := cert.Validity()
				ending = ending || end.Equal(r.End) && soon(cert, j.at)
			}
		}
		if ending {
			r.Verdict = Expiring
			r.Hints = append(r.Hints, "renew what ends first; `windlass check` names it")
		}
	}
	valid := 0
	for _, a := range slices.Concat(to.Anchors, from.Anchors) {
		if _, end := a.Validity(); end.After(j.at) {
			valid++
		}
	}
	r.OnlyExpired = valid == 0 && len(to.Anchors)+len(from.Anchors) > 0
	if r.OnlyExpired {
		r.Hints = append(r.Hints, "every anchor that the chains lead to has expired: proxies go on, but linkerd-identity does not start any more; put new ones in place")
	}
}

// soon reports whether a certificate ought to have been renewed by now: less than
// 60 days are left, as for `linkerd check`, and less than a third of its
// validity, for those of two days that cert-manager renews after two thirds.
func soon(c *bundle.Certificate, at time.Time) bool {
	from, end := c.Validity()
	left := end.Sub(at)
	return left < bundle.DefaultExpiresSoon && left < end.Sub(from)/3
}

// travels picks the peers that make calls to other clusters: the control plane's
// own do not.
func travels(i *mesh.Installation) func(*mesh.Peer) bool {
	return func(p *mesh.Peer) bool {
		return p.Class.Installation == i.Namespace && (p.Namespace != i.Namespace || p.Component == "")
	}
}

// meets picks the peers of the target that the Link's traffic gets to: those
// behind the gateway's identity, where all goes through it, and else every one.
func meets(s *mesh.Survey, i *mesh.Installation, l *mesh.Link) func(*mesh.Peer) bool {
	all := travels(i)
	if l.Direct() || !l.Mirrors {
		return all
	}
	gateway := func(p *mesh.Peer) bool { return all(p) && p.Workload != nil && p.Workload.Gateway }
	if l.GatewayIdentity != "" {
		// Any meshed workload may be the gateway: what counts is the name that
		// clients ask for.
		gateway = func(p *mesh.Peer) bool { return all(p) && p.TLSName == l.GatewayIdentity }
	}
	for n := range s.Peers {
		if gateway(&s.Peers[n]) {
			return gateway
		}
	}
	return all // it is not to be seen which: it may be any
}

func installation(s *mesh.Survey, namespace string) (*mesh.Installation, error) {
	if namespace != "" {
		if i := s.Installation(namespace); i != nil {
			return i, nil
		}
		return nil, fmt.Errorf("no control plane was seen in namespace %s", namespace)
	}
	switch len(s.Installations) {
	case 1:
		return s.Installations[0], nil
	case 0:
		return nil, errors.New("no control plane was seen")
	}
	return nil, errors.New("there are several control planes: name one with --linkerd-namespace")
}

// shared returns the anchors that every known trust set of both sides holds.
func shared(a, b *side) []string {
	for _, s := range []*side{a, b} {
		if !slices.ContainsFunc(s.parties, func(p *party) bool { return p.trust != nil }) {
			return []string{}
		}
	}
	count, sets := map[bundle.AnchorID]int{}, 0
	var order []bundle.AnchorID
	for _, p := range slices.Concat(a.parties, b.parties) {
		if p.trust == nil {
			continue
		}
		sets++
		seen := map[bundle.AnchorID]bool{}
		for _, c := range p.trust.Anchors {
			id := c.AnchorID()
			if !seen[id] {
				seen[id] = true
				if count[id]++; count[id] == 1 {
					order = append(order, id)
				}
			}
		}
	}
	out := []string{}
	for _, id := range order {
		if count[id] == sets {
			out = append(out, id.String())
		}
	}
	slices.Sort(out)
	return out
}

// unseen says why the target of a Link could not be looked at.
func unseen(l *mesh.Link, target *mesh.Survey) string {
	for _, u := range l.Unknowns {
		if u.Code != mesh.CodeNotObserved {
			return u.String()
		}
	}
	for _, c := range l.Credentials {
		switch {
		case c.Refused != nil:
			return fmt.Sprintf("%s: %v", c.Secret, c.Refused)
		case c.TargetErr != nil:
			return fmt.Sprintf("with the credentials in %s: %v", c.Secret, c.TargetErr)
		}
	}
	if target != nil && len(target.Unknowns) > 0 {
		return target.Unknowns[0].Reason
	}
	if len(l.Credentials) == 0 {
		return "it has no credentials"
	}
	return "nobody asked its API server"
}

func linkHint(l *mesh.Link) string {
	for _, c := range l.Credentials {
		if c.Refused != nil {
			return "credentials made by `linkerd multicluster link-gen` hold a server, its CA and a token, nothing else; or add a --context of the target"
		}
	}
	return "add a --context of the target, or mend the Link's credentials: `linkerd multicluster link-gen` makes new ones"
}

// Unseen says why it is not known where a Link leads, "" where its credentials
// work.
func Unseen(l *mesh.Link) string {
	for _, c := range l.Credentials {
		if c.Target != (mesh.Identity{}) {
			return ""
		}
	}
	return unseen(l, nil)
}
