package health

import (
	"fmt"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
)

// Direction says whether what the peers of one side present verifies for the
// peers of another.
type Direction struct {
	// OK is true only where it is proved.
	OK bool `json:"ok"`
	// Reason says why, or why not, or what is not known.
	Reason string `json:"reason"`

	// Known is false where OK is false for want of facts.
	Known bool `json:"-"`
	// Until is the last moment at which it is sound; zero where it is not.
	Until time.Time `json:"-"`
	// Anchors are those that chains were found to lead to.
	Anchors []*bundle.Certificate `json:"-"`
	// Refusing is who does not verify, of how many.
	Refusing string `json:"-"`
}

// accept judges what from presents by what to trusts.
func (j *Judge) accept(from, to *side) Direction {
	d := Direction{OK: true, Known: true}
	var open []string
	judged := 0
	for _, q := range to.parties {
		if q.trust == nil {
			open = append(open, fmt.Sprintf("what %s in %s trust is not known: %s", q, to.name, q.why))
			continue
		}
		judged++
		if !j.chains(&d, from, to, q) {
			return d
		}
		if why := unsure(from, q); why != "" {
			open = append(open, why)
		}
	}
	if judged == 0 && len(open) == 0 {
		open = append(open, fmt.Sprintf("no anchors of %s were seen", to.name))
	}
	if len(open) > 0 {
		more := ""
		if len(open) > 1 {
			more = fmt.Sprintf(" (and %d more)", len(open)-1)
		}
		return Direction{Reason: open[0] + more, Until: d.Until, Anchors: d.Anchors}
	}
	d.Reason = d.path(from, to)
	return d
}

// chains judges every known chain for one party, and reports whether all verify.
func (j *Judge) chains(d *Direction, from, to *side, q *party) bool {
	for _, c := range from.chains {
		a := j.Verifies(c, q.trust, q.release)
		if !a.OK {
			*d = Direction{Known: true, Refusing: q.String(),
				Reason: fmt.Sprintf("%s in %s, not accepted by %s in %s: %s", c, from.name, q, to.name, a.Reason)}
			return false
		}
		if d.Until.IsZero() || a.Until.Before(d.Until) {
			d.Until = a.Until
		}
		d.note(a.Anchor)
	}
	return true
}

// unsure says why it is not proved that one party accepts all that from may
// present, "" where it is.
func unsure(from *side, q *party) string {
	why := from.unsure
	if why == "" && len(from.chains) > 0 {
		return ""
	}
	seen := 0
	for _, p := range from.parties {
		if p.stored && len(from.parties) > 1 {
			continue // new pods get a leaf of the stored issuer, or none
		}
		seen++
		if p.seen {
			continue
		}
		if !holdsAll(q.trust, p.trust) {
			return fmt.Sprintf("what %s in %s present is not certain (%s), and %s do not trust all that those trust", p, from.name, why, q)
		}
	}
	if seen == 0 {
		return fmt.Sprintf("nothing is known of what peers in %s present: %s", from.name, why)
	}
	return ""
}

func (d *Direction) note(a *bundle.Certificate) {
	for _, known := range d.Anchors {
		if known.AnchorID() == a.AnchorID() {
			return
		}
	}
	d.Anchors = append(d.Anchors, a)
}

func (d *Direction) path(from, to *side) string {
	if len(d.Anchors) == 0 {
		return fmt.Sprintf("%s trusts every anchor that %s trusts", to.name, from.name)
	}
	var names []string
	for _, a := range d.Anchors {
		names = append(names, a.String())
	}
	return fmt.Sprintf("%s verifies %s by %s", to.name, from.name, strings.Join(names, ", "))
}
