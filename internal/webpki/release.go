package webpki

import (
	"fmt"
	"strings"
)

// A Release names a set of rules: those of the proxies that one Linkerd release
// ships. The zero Release is not valid.
type Release uint8

// The releases whose rules are known, and a look ahead.
const (
	// Linkerd218 is Linkerd 2.18: linkerd2-proxy release/v2.294.0,
	// rustls-webpki 0.103.1.
	Linkerd218 Release = iota + 1
	// Linkerd219 is Linkerd 2.19: linkerd2-proxy release/v2.326.0,
	// rustls-webpki 0.103.8.
	Linkerd219
	// Linkerd220 is Linkerd 2.20: linkerd2-proxy release/v2.359.0,
	// rustls-webpki 0.103.13. edge-26.8.3 (release/v2.366.0) has the same rules.
	Linkerd220
	// WebpkiMain is the main branch of rustls-webpki in August 2026 (1bff41a4,
	// after 0.104.0-alpha.7) with the algorithms of Linkerd 2.20: what may come.
	// No release has these rules, so [Releases] leaves them out.
	WebpkiMain
)

// rules is what differs between releases. Everything else is common to all.
type rules struct {
	name string

	// algorithms that may sign a certificate (linkerd/rustls/src/crypto.rs).
	algorithms []algorithm

	// anchorsIgnoreCritical: an anchor with a critical extension that is not
	// known is taken (webpki 0.103.11 and later).
	anchorsIgnoreCritical bool

	// emptyExtensions: a v3 certificate may have an empty list of extensions
	// (not in webpki 0.103.1).
	emptyExtensions bool

	// uniqueIDs: issuerUniqueID and subjectUniqueID are skipped, not refused
	// (main).
	uniqueIDs bool

	// sctList: the list of certificate timestamps is a known extension (main).
	sctList bool

	// keyCertSign: a keyUsage extension must allow an intermediate to sign
	// certificates, and must not allow a leaf to (main, rustls/webpki#510).
	keyCertSign bool

	// uriConstraints: URI name constraints count, and refuse every URI
	// (webpki 0.103.12 and later); before, they were passed over.
	uriConstraints bool

	// strictWildcards: a wildcard name is only inside a permitted DNS subtree
	// if all that it covers is (webpki 0.103.12 and later).
	strictWildcards bool

	// plainErrors: the older variants of webpki::Error without context, and no
	// EmptyEkuExtension (webpki 0.103.1).
	plainErrors bool
}

var releaseRules = [...]*rules{
	Linkerd218: {
		name:        "2.18",
		algorithms:  algorithms218,
		plainErrors: true,
	},
	Linkerd219: {
		name:            "2.19",
		algorithms:      algorithms219,
		emptyExtensions: true,
	},
	Linkerd220: {
		name:                  "2.20",
		algorithms:            algorithms220,
		anchorsIgnoreCritical: true,
		emptyExtensions:       true,
		uriConstraints:        true,
		strictWildcards:       true,
	},
	WebpkiMain: {
		name:                  "webpki-main",
		algorithms:            algorithms220,
		anchorsIgnoreCritical: true,
		emptyExtensions:       true,
		uniqueIDs:             true,
		sctList:               true,
		keyCertSign:           true,
		uriConstraints:        true,
		strictWildcards:       true,
	},
}

// rules panics on a Release that is none of the constants: that is a mistake in
// the program, never in its input.
func (r Release) rules() *rules {
	if int(r) >= len(releaseRules) || releaseRules[r] == nil {
		panic(fmt.Sprintf("webpki: Release(%d) is not a known release", uint8(r)))
	}
	return releaseRules[r]
}

// String returns the version in the form "2.20".
func (r Release) String() string {
	if int(r) >= len(releaseRules) || releaseRules[r] == nil {
		return fmt.Sprintf("Release(%d)", uint8(r))
	}
	return releaseRules[r].name
}

// Releases returns every shipped release whose rules are known, oldest first.
// Where a cluster's release is not known, a verdict is sound only if all of them
// agree on it. The caller owns the slice.
func Releases() []Release {
	return []Release{Linkerd218, Linkerd219, Linkerd220}
}

// edges are the edge releases whose proxies have been looked at.
var edges = map[string]Release{
	"25.4.4": Linkerd218,
	"26.8.3": Linkerd220,
}

// ParseRelease reads a Linkerd version as it is found in the wild: "2.18",
// "v2.18", "2.18.1", "linkerd-2.18", "stable-2.18.0", "version-2.18",
// "enterprise-2.18.2", or an edge release whose proxy is known, such as
// "edge-26.8.3". "webpki-main" names [WebpkiMain]. A patch release has the rules
// of its minor release. The error names the releases that are known.
func ParseRelease(s string) (Release, error) {
	v := strings.ToLower(strings.TrimSpace(s))
	if v == WebpkiMain.String() {
		return WebpkiMain, nil
	}
	if e, ok := strings.CutPrefix(v, "edge-"); ok {
		if r, ok := edges[e]; ok {
			return r, nil
		}
		return 0, unknownRelease(s)
	}
	for _, p := range []string{"linkerd-", "version-", "stable-", "enterprise-", "release/"} {
		v = strings.TrimPrefix(v, p)
	}
	v = strings.TrimPrefix(v, "v")
	for _, r := range Releases() {
		rest, ok := strings.CutPrefix(v, r.String())
		if ok && (rest == "" || isPatch(rest)) {
			return r, nil
		}
	}
	return 0, unknownRelease(s)
}

// isPatch tells whether s is what may follow "2.18": a dot and a number, then
// nothing or a suffix such as "-rc.1".
func isPatch(s string) bool {
	num, ok := strings.CutPrefix(s, ".")
	if !ok {
		return s[0] == '-' || s[0] == '+'
	}
	n := 0
	for n < len(num) && num[n] >= '0' && num[n] <= '9' {
		n++
	}
	return n > 0 && (n == len(num) || num[n] == '-' || num[n] == '+')
}

func unknownRelease(s string) error {
	return fmt.Errorf("the rules of Linkerd release %q are not known; known are 2.18, 2.19, 2.20, edge-25.4.4 and edge-26.8.3", s)
}
