package linkerdtest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

var errNoLeaf = errors.New("no certificate yet")

// Coverage tells how many of the handshakes that were called for were made.
type Coverage struct {
	Required, Done map[Occasion]int
	// Gaps say what was not tried at all.
	Gaps []string
}

// Complete tells whether nothing is missing.
func (c Coverage) Complete() bool { return len(c.Gaps) == 0 && c.total(c.Done) == c.total(c.Required) }

// Percent is the share of the handshakes that were made, a gap counting as one
// that was not.
func (c Coverage) Percent() float64 {
	done, required := c.total(c.Done), c.total(c.Required)+len(c.Gaps)
	if required == 0 {
		return 0
	}
	return 100 * float64(done) / float64(required)
}

func (Coverage) total(m map[Occasion]int) (n int) {
	for _, v := range m {
		n += v
	}
	return n
}

// Coverage returns what was tried so far.
func (l *Ledger) Coverage() Coverage {
	l.gate.Lock()
	defer l.gate.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Coverage{Required: make(map[Occasion]int), Done: make(map[Occasion]int)}
	for _, o := range occasions {
		c.Required[o], c.Done[o] = l.required[o], l.done[o]
	}
	for _, p := range l.sorted() {
		if l.peers[p] != (seen{classOf(p), p.credential()}) {
			c.Gaps = append(c.Gaps, fmt.Sprintf("%s/%s changed and nobody shook hands with it", p.cfg.Cluster, p.cfg.Pod))
		}
	}
	if l.unseen > 0 {
		c.Gaps = append(c.Gaps, fmt.Sprintf("%d changes were found only at the next step", l.unseen))
	}
	if !l.final {
		c.Gaps = append(c.Gaps, "the final round of all pairs was not made, or something has changed since")
	}
	if c.total(c.Required) == 0 {
		c.Gaps = append(c.Gaps, "no handshake was made at all")
	}
	return c
}

// Failures returns every handshake that did not work, in the order they happened.
func (l *Ledger) Failures() []Failure {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.failures)
}

// Write prints what was done and what failed, failures of one kind together.
func (l *Ledger) Write(w io.Writer) error {
	c := l.Coverage()
	l.mu.Lock()
	defer l.mu.Unlock()
	clusters := make(map[string]bool)
	for p := range l.peers {
		clusters[p.cfg.Cluster] = true
	}
	var b strings.Builder
	fmt.Fprintf(&b, "handshakes among %d peers of %d clusters; %d classes in all, %d changes, %d steps\n",
		len(l.peers), len(clusters), len(l.classes), l.changes, l.steps)
	for _, o := range occasions {
		fmt.Fprintf(&b, "  %-7s %d of %d\n", o, c.Done[o], c.Required[o])
	}
	fmt.Fprintf(&b, "  coverage %.1f %%, %d failures\n", c.Percent(), len(l.failures))
	for _, g := range c.Gaps {
		fmt.Fprintf(&b, "  not covered: %s\n", g)
	}
	type kind struct {
		step, client, server, reason string
		occasion                     Occasion
	}
	count := make(map[kind]int)
	first := make(map[kind]Failure)
	var order []kind
	for _, f := range l.failures {
		k := kind{f.Step, classText(f.Client.Class), classText(f.Server.Class), reasonText(f.Err), f.Occasion}
		if count[k]++; count[k] == 1 {
			order, first[k] = append(order, k), f
		}
	}
	for _, k := range order {
		fmt.Fprintf(&b, "  %d x %s\n", count[k], first[k])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// Report is what a test needs to be told; *testing.T is one.
type Report interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Check prints the ledger and fails the test unless every handshake was made and
// worked.
func (l *Ledger) Check(t Report) {
	t.Helper()
	var b strings.Builder
	l.Write(&b)
	if c := l.Coverage(); !c.Complete() || len(l.Failures()) > 0 {
		t.Errorf("%s", b.String())
		return
	}
	t.Logf("%s", b.String())
}

// String tells of the failure in one line.
func (f Failure) String() string {
	who := f.Client.String()
	if f.Server.Pod != "" {
		who += " -> " + f.Server.String()
	}
	return fmt.Sprintf("%s, %s %q: %s: %v", f.At.UTC().Format("2006-01-02T15:04:05Z"), f.Occasion, f.Step, who, f.Err)
}

// String names the pod and its class.
func (m Member) String() string { return m.Class.Cluster + "/" + m.Pod + " " + classText(m.Class) }

func classText(c Class) string { return fmt.Sprintf("(trusts %s, presents %s)", c.Trusts, c.Presents) }

// reasonText is what failures of one kind have in common: whose chain is refused,
// and the name of the reason without its details.
func reasonText(err error) string {
	var r *Refusal
	var e *webpki.Error
	switch {
	case !errors.As(err, &r):
		return err.Error()
	case errors.As(err, &e):
		return r.What + " " + string(e.Kind)
	}
	return r.What + " " + r.Err.Error()
}
