package bundle

import (
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// Rules names whose judgement is asked for.
type Rules string

// The two rule sets that decide whether a Linkerd mesh works.
const (
	// Proxy is what a proxy does with the chain its peer presents
	// (rustls-webpki): an anchor is only subject, key and name constraints; its
	// dates, CA bit, path length and critical extensions do not count.
	Proxy Rules = "proxy"
	// Identity is what linkerd-identity does with its issuer file (Go's
	// crypto/x509): dates and path lengths of anchors count, the first
	// certificate must be a CA and verify under the trust roots.
	Identity Rules = "identity"
)

// Usage is the side of the handshake whose certificate is judged.
type Usage = webpki.Usage

// The usages. A server's certificate is judged by the proxy that connects, a
// client's by the proxy that is connected to.
const (
	Server = webpki.Server
	Client = webpki.Client
)

// Release is a Linkerd release, such as "2.20", whose proxies' rules are known.
type Release = webpki.Release

// Releases returns the releases whose rules are known, oldest first.
func Releases() []Release { return webpki.Releases() }

// ParseRelease reads a release as people write it: "2.18", "v2.18.1",
// "edge-26.8.3".
func ParseRelease(s string) (Release, error) { return webpki.ParseRelease(s) }

// Query says what is to be judged.
type Query struct {
	// Chain is what a peer presents, leaf first. The identity rules judge what
	// follows the leaf, as linkerd-identity judges its issuer file.
	Chain []*Certificate
	// Issuer, in place of Chain, is an issuer and what stands above it, as in
	// linkerd-identity's issuer file. The proxy rules judge it as the chain of
	// a leaf that it has signed and that has no fault of its own.
	Issuer []*Certificate
	// Anchors is the trust set in order. A certificate listed twice counts
	// twice against a proxy's budget of signature checks.
	Anchors []*Certificate
	// Rules says whose judgement is asked for.
	Rules Rules
	// Usage is the side of the handshake; the identity rules do not depend on it.
	Usage Usage
	// Name, when set, is the identity that the leaf must carry: a DNS name or a
	// spiffe:// URI.
	Name string
	// At is the moment of judgement.
	At time.Time
	// Releases are the Linkerd releases whose proxies must all accept; empty
	// means every known one.
	Releases []Release
}

// Verdict is the answer to a Query.
type Verdict struct {
	Rules Rules
	OK    bool
	// Reason says why, for a person who has to mend it; for a sound chain it
	// says by which path.
	Reason string
	// Refusing are the releases whose proxies refuse, where not all do.
	Refusing []Release
	// Path is the chain of certificates that was accepted, leaf (or issuer)
	// first, anchor last. Empty when the verdict is not OK.
	Path []*Certificate
	// SignatureChecks is how many signatures a proxy checks, the most of any
	// release judged; it gives up after 100. Zero for the identity rules.
	SignatureChecks int
	// Skipped are anchors that the proxies of some judged release do not load.
	Skipped []Skipped
	// Judged is false where there was nothing to judge: a leaf alone has no
	// issuer for the identity rules. OK is false then.
	Judged bool
}

// Verify judges a chain against a trust set. It does no I/O, reads no clock and
// ends within the verifiers' own budgets whatever the input.
func Verify(q Query) Verdict {
	v, _ := newJudge(q)(q.At)
	return v
}

// SoundUntil returns the last moment at which the chain still verifies, given
// that it does at q.At: from the next second on it does not. The zero time
// means that it does not verify at q.At. Ends of certificates are moments to
// the second, as X.509 writes them.
//
// To a proxy an issuer that is its own anchor (a default install) never ends;
// for an issuer alone the answer is then its own end, up to which
// linkerd-identity signs leaves.
func SoundUntil(q Query) time.Time {
	judge := newJudge(q)
	v, end := judge(q.At)
	if !v.OK {
		return time.Time{}
	}
	// A path that verified goes on to verify until the first of its
	// certificates ends; then another may be left.
	for {
		v, next := judge(end.Add(time.Second))
		if !v.OK || !next.After(end) {
			return end
		}
		end = next
	}
}

// judge answers a query for one moment. Beside a verdict that is OK stands the
// end of what it rests on: until then it cannot change.
type judge func(at time.Time) (Verdict, time.Time)

// newJudge does all that does not depend on the moment.
func newJudge(q Query) judge {
	if q.Rules == Identity {
		return identityJudge(q)
	}
	return proxyJudge(q)
}

// earliestEnd is the first moment at which one of the certificates ends.
func earliestEnd(certs []*Certificate) (first time.Time) {
	for _, c := range certs {
		if _, end := c.Validity(); first.IsZero() || end.Before(first) {
			first = end
		}
	}
	return first
}

func pathText(path []*Certificate) string {
	names := make([]string, len(path))
	for i, c := range path {
		names[i] = clip(c.Subject(), 120)
	}
	return strings.Join(names, " <- ")
}
