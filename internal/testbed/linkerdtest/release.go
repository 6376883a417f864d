package linkerdtest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// Release is a Linkerd release, such as "2.20" or "edge-26.8.3", as far as the
// parts behave differently from one to another.
type Release struct {
	name  string
	minor int // of version 2; an edge release counts as the latest
}

// Latest is what is installed unless a test says otherwise.
var Latest = MustRelease("2.20")

const latestMinor = 20

// ParseRelease reads "2.14", "stable-2.14.10", "version-2.18", "edge-26.8.3".
func ParseRelease(s string) (Release, error) {
	if strings.HasPrefix(s, "edge-") {
		return Release{s, latestMinor}, nil
	}
	_, minor, ok := strings.Cut(s[strings.LastIndexAny(s, "-v")+1:], ".")
	minor, _, _ = strings.Cut(minor, ".")
	n, err := strconv.Atoi(minor)
	if !ok || err != nil {
		return Release{}, fmt.Errorf("%q is not a Linkerd release", s)
	}
	return Release{s, n}, nil
}

// MustRelease is ParseRelease for names that are known to be good.
func MustRelease(s string) Release {
	r, err := ParseRelease(s)
	if err != nil {
		panic(err)
	}
	return r
}

// String returns the name that the release was made of.
func (r Release) String() string { return r.name }

// Rules returns the rules by which its proxies verify: its own where they are
// known, else those of the known release that is nearest.
func (r Release) Rules() webpki.Release {
	switch {
	case r.minor <= 18:
		return webpki.Linkerd218
	case r.minor == 19:
		return webpki.Linkerd219
	}
	return webpki.Linkerd220
}

// servesEnv tells whether its proxies have /env.json (linkerd2-proxy v2.185.0).
func (r Release) servesEnv() bool { return r.minor >= 12 }

// issuerMetric tells whether its identity has issuer_cert_ttl_seconds.
func (r Release) issuerMetric() bool { return r.minor >= 18 }

// issuedEvents tells whether its identity records IssuedLeafCertificate.
func (r Release) issuedEvents() bool { return r.minor >= 11 }

// podTrustHash tells whether its injector annotates pods with the hash of the
// anchors (2.12.1; a patch release counts as that).
func (r Release) podTrustHash() bool { return r.minor >= 12 }
