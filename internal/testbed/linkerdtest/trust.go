package linkerdtest

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/webpki"
)

// ID tells what is trusted or presented apart: the SHA-256 of what counts.
type ID [sha256.Size]byte

// String returns the first digits of the ID.
func (id ID) String() string { return hex.EncodeToString(id[:4]) }

// trustSet is what a proxy keeps of the text of its anchors.
type trustSet struct {
	id      ID
	anchors []*webpki.Anchor
	hints   *x509.CertPool // the subjects that its server tells clients
	label   string
}

// loadTrust does what happens to the text at the start of the container: the
// strict reading of linkerd2-proxy-identity and then the proxy's own. An error is
// what the process dies of.
func loadTrust(text string, rules webpki.Release) (*trustSet, error) {
	if text == "" {
		// linkerd2 proxy-identity/main.go, loadVerifier.
		return nil, fatal(nil, "Failed to load trust anchors: '%s' must be set", EnvTrustAnchors)
	}
	if r := bundle.ReadAs([]byte(text), bundle.Identity, 0); r.Err != nil {
		return nil, fatal(r.Err, "Failed to load trust anchors: %s", r.Err)
	}
	r := bundle.ReadAs([]byte(text), bundle.Proxy, rules)
	if r.Err != nil {
		return nil, fatal(r.Err, "Initialization failure: %s", r.Err)
	}
	t := &trustSet{hints: x509.NewCertPool()}
	hash := sha256.New()
	var names []string
	for _, c := range r.Certificates {
		raw := c.Raw()
		a, err := webpki.ParseAnchor(raw, rules)
		if err != nil {
			return nil, fatal(err, "Initialization failure: %s", err)
		}
		t.anchors = append(t.anchors, a)
		id := c.AnchorID()
		hash.Write(id[:])
		names = append(names, c.Subject())
		// Only the subject matters for a hint, so that a certificate that Go
		// would not parse gives one too.
		t.hints.AddCert(&x509.Certificate{Raw: raw, RawSubject: c.RawSubject()})
	}
	hash.Sum(t.id[:0])
	t.label = strings.Join(names, ", ")
	return t, nil
}

// Fatal is what a process says before it exits.
type Fatal struct {
	Log string
	Err error // the cause, where there is one
}

func fatal(cause error, format string, args ...any) *Fatal {
	return &Fatal{fmt.Sprintf(format, args...), cause}
}

// Error returns the last line of the log.
func (f *Fatal) Error() string { return f.Log }

// Unwrap returns the cause.
func (f *Fatal) Unwrap() error { return f.Err }

// Refusal is why a proxy refuses what its peer presents.
type Refusal struct {
	By   string // the identity of the proxy that refuses
	What string // "server" or "client": whose chain it refuses
	Err  error  // a *webpki.Error, or that the name is another
	// Chain and Trust describe what was presented and what is trusted.
	Chain, Trust string
}

// Error returns the whole reason.
func (r *Refusal) Error() string {
	return fmt.Sprintf("%s refuses the %s: %v (presented: %s; trusted: %s)", r.By, r.What, r.Err, r.Chain, r.Trust)
}

// Unwrap returns Err.
func (r *Refusal) Unwrap() error { return r.Err }

// describeChain names what is presented, leaf first.
func describeChain(raw [][]byte) string {
	names := make([]string, len(raw))
	for i, der := range raw {
		names[i] = "unreadable"
		if c, err := bundle.ParseCertificate(der); err == nil {
			names[i] = c.Subject()
			if i == len(raw)-1 {
				names[i] += " <- " + c.Issuer()
			}
		}
	}
	return strings.Join(names, " <- ")
}
