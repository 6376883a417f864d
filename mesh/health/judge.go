package health

import (
	"bytes"
	"fmt"
	"time"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
)

// Judge answers whether chains verify at one moment, and remembers. It is not
// safe for concurrent use.
type Judge struct {
	at    time.Time
	known map[question]Answer
}

// NewJudge returns a judge of one moment.
func NewJudge(at time.Time) *Judge { return &Judge{at: at, known: map[question]Answer{}} }

// At is the moment of judgement.
func (j *Judge) At() time.Time { return j.at }

type question struct{ chain, trust, release string }

// Chain is what a peer presents: seen, or inferred from the issuer that signs
// for it.
type Chain struct {
	certs  []*bundle.Certificate
	issuer bool
	id     string
}

// Seen is a chain that a peer showed, leaf first.
func Seen(certs []*bundle.Certificate) Chain { return chainOf(certs, false) }

// SignedBy is the chain of any peer whose leaf the issuer signs: the issuer
// first, then what stands above it.
func SignedBy(issuer []*bundle.Certificate) Chain { return chainOf(issuer, true) }

func chainOf(certs []*bundle.Certificate, issuer bool) Chain {
	var id bytes.Buffer
	if issuer {
		id.WriteByte('i')
	}
	for _, c := range certs {
		f := c.Fingerprint()
		id.Write(f[:])
	}
	return Chain{certs, issuer, id.String()}
}

// String names the certificate that signs the leaves.
func (c Chain) String() string {
	switch {
	case len(c.certs) == 0:
		return "nothing"
	case c.issuer:
		return "leaves signed by " + c.certs[0].String()
	case len(c.certs) > 1:
		return "a leaf signed by " + c.certs[1].String()
	}
	return "the leaf " + c.certs[0].String()
}

// Answer says whether a chain verifies, and why not.
type Answer struct {
	OK     bool
	Reason string
	// Until is the last moment at which it still does.
	Until time.Time
	// Anchor is the one that the proxy found it to chain to.
	Anchor *bundle.Certificate
}

// Verifies is the predicate: whether a proxy of the release given, holding the
// trust set, accepts a peer that presents the chain, as a server and as a
// client. With a release whose rules are not known, those of every known one
// have to accept.
func (j *Judge) Verifies(c Chain, t *mesh.TrustSet, release string) Answer {
	rules := mesh.RulesOf(release)
	key := question{chain: c.id, trust: t.ID}
	if len(rules) == 1 {
		key.release = rules[0].String()
	}
	if a, ok := j.known[key]; ok {
		return a
	}
	a := j.verify(c, t, rules)
	j.known[key] = a
	return a
}

func (j *Judge) verify(c Chain, t *mesh.TrustSet, rules []bundle.Release) (a Answer) {
	switch {
	case t.Err != nil:
		return Answer{Reason: fmt.Sprintf("proxies do not start with these anchors: %v", t.Err)}
	case len(t.Anchors) == 0:
		return Answer{Reason: "no anchor is trusted"}
	case len(c.certs) == 0:
		return Answer{Reason: "no certificate is presented"}
	}
	for _, usage := range []bundle.Usage{bundle.Server, bundle.Client} {
		q := bundle.Query{Anchors: t.Anchors, Rules: bundle.Proxy, Usage: usage, At: j.at, Releases: rules}
		if c.issuer {
			q.Issuer = c.certs
		} else {
			q.Chain = c.certs
		}
		v := bundle.Verify(q)
		if !v.OK {
			return Answer{Reason: v.Reason}
		}
		if until := bundle.SoundUntil(q); a.Until.IsZero() || until.Before(a.Until) {
			a.Until = until
		}
		a.OK, a.Reason, a.Anchor = true, v.Reason, v.Path[len(v.Path)-1]
	}
	return a
}

// maxCrowd is how many anchors of one subject a trust set may hold for a larger
// one to be sure to accept what a smaller one accepts: each costs a signature
// check at each of the chain's at most 7 certificates, and proxies give up after
// 100 (rustls-webpki, Budget::default).
const maxCrowd = 12

// holdsAll reports whether whatever verifies under small verifies under large.
func holdsAll(large, small *mesh.TrustSet) bool {
	if large == small {
		return true
	}
	if large == nil || small == nil || large.Err != nil || len(small.Anchors) == 0 {
		return false
	}
	held, crowd := map[bundle.AnchorID]bool{}, map[string]int{}
	for _, a := range large.Anchors {
		held[a.AnchorID()] = true
		crowd[string(a.RawSubject())]++
		if crowd[string(a.RawSubject())] > maxCrowd {
			return false
		}
	}
	for _, a := range small.Anchors {
		if !held[a.AnchorID()] {
			return false
		}
	}
	return true
}
