package bundle

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// anchors judges every certificate of the union as an anchor.
func (l *linter) anchors() {
	certs := l.union.Sorted()
	for _, c := range certs {
		l.anchor(c)
	}
	for _, twins := range l.union.Twins() {
		l.report(LevelWarning, CodeDuplicateAnchor, twins[0].String(), "`windlass bundle merge --compact` drops a twin where that is proved to change nothing",
			"%d certificates are one anchor (same subject and key): %s", len(twins), subjectsOf(twins))
	}
	for _, alike := range groups(certs, func(c *Certificate) string { return string(c.RawSubject()) }) {
		l.sameSubject(alike)
	}
}

func (l *linter) anchor(c *Certificate) {
	l.dates(c, "anchor", "")
	if c.parsed != nil && !c.signs() {
		text := "it is not a CA"
		if c.IsCA() {
			text = "its key usage does not allow it to sign certificates"
		}
		l.report(LevelError, CodeNotACA, c.String(), "take it out: anchors are roots",
			"%s: identity accepts nothing under it, but proxies trust whatever its key has signed", text)
	}
	if c.signs() && !c.SelfSigned() {
		l.report(LevelWarning, CodeNotARoot, c.String(), "take it out, unless you mean to trust it by itself",
			"this anchor is signed by %s: an issuer or a cross-signed root, not a root; whoever holds its key is trusted even after its root is gone", clip(c.Issuer(), 80))
	}
	l.key(c)
	if weakSignature(c) {
		l.report(LevelWarning, CodeWeakSignature, c.String(), "re-issue it: `windlass root reissue` keeps the key",
			"it is signed with %s; no verifier looks at an anchor's own signature, but scanners do", signatureName(c))
	}
	scope := "this anchor can mint any identity of every cluster that trusts it"
	if len(c.nameConstraints()) > 0 {
		scope = "this anchor can mint every identity that its name constraints allow, in every cluster that trusts it"
	}
	l.report(LevelInfo, CodeTrustScope, c.String(), "", "%s", scope)
}

// sameSubject warns of anchors that proxies cannot tell apart by name.
func (l *linter) sameSubject(alike []*Certificate) {
	first := alike[0]
	twins := !slices.ContainsFunc(alike, func(c *Certificate) bool { return c.AnchorID() != first.AnchorID() })
	checks := worstChecks(len(alike), nil, nil)
	for _, issuer := range l.known {
		checks = max(checks, worstChecks(len(alike), alike[0].RawSubject(), issuer))
	}
	level, text := LevelWarning, "each costs every handshake a signature check"
	if checks > maxSignatureChecks {
		level = LevelError
		text = fmt.Sprintf("a handshake needs up to %d signature checks and proxies give up after %d", checks, maxSignatureChecks)
	}
	hint := "give each root a subject of its own, as `windlass root create` does"
	if twins {
		hint = "they are twins: see duplicate-anchor"
	}
	l.report(level, CodeSameSubject, first.Subject(), hint,
		"%d certificates share this subject: %s", len(alike), text)
}

// worstChecks is how many signatures a proxy may have to check on a chain under
// n anchors of one subject, the right one being the last of them.
//
// Proxies find anchors by subject only (rustls-webpki, verify_cert.rs): at each
// certificate of the chain whose issuer has that subject, every anchor is tried,
// at one check each; under the right one each certificate of the path costs one
// more. Where the issuer or a cross-signed root shares the subject too, the
// whole crowd is tried again at every level. A chain that does not end at this
// subject is counted as one of its length that does: it may, in another cluster.
func worstChecks(n int, subject []byte, issuer []*Certificate) int {
	length := max(len(issuer)+1, 2) // with the leaf
	levels, last := 0, length
	if len(issuer) > 0 && issuer[0].named(subject) {
		levels, last = 1, 1 // the leaf is issued by that name
	}
	for i, c := range issuer {
		if string(c.RawIssuer()) == string(subject) && !(i > 0 && c.named(subject) && c.SelfSigned()) {
			levels, last = levels+1, i+2
		}
	}
	if levels == 0 {
		levels = 1
	}
	return levels*n - 1 + last
}

// chain judges an issuer and what stands above it; a leaf in front of it is
// passed over.
func (l *linter) chain(certs []*Certificate, from string) {
	issuer := issuerOf(certs)
	l.known = append(l.known, issuer)
	for i, c := range issuer {
		subject := c.String()
		if from != "" {
			subject = from + ": " + subject
		}
		if c.parsed == nil {
			l.report(LevelError, CodeUnreadableByIdentity, subject, "have it issued anew", "%v: linkerd-identity refuses its issuer for it", c.parseErr)
		}
		role := "issuer"
		if i > 0 {
			role = "certificate above the issuer"
		}
		l.dates(c, role, from)
		if weakSignature(c) {
			l.report(LevelError, CodeWeakSignature, subject, "sign it anew with SHA-256", "its signature (%s) is accepted by no verifier", signatureName(c))
		}
		if i == 0 {
			l.issuerKey(c, subject)
		}
		_, end := c.Validity()
		if left := end.Sub(l.opts.Now); left > 0 && left < l.opts.LeafLifetime {
			l.report(LevelWarning, CodeChainShortensLeaves, subject, "renew it, or take it out of the chain once nobody needs it",
				"this %s ends in %s, before a leaf issued now would (%s): identity cuts leaves to the earliest end in its chain", role, left.Round(time.Minute), l.opts.LeafLifetime)
		}
	}
}

func (l *linter) dates(c *Certificate, role, from string) {
	start, end := c.Validity()
	now := l.opts.Now
	subject := c.String()
	if from != "" {
		subject = from + ": " + subject
	}
	anchor := role == "anchor"
	switch {
	case end.IsZero():
	case end.Before(now) && anchor:
		l.report(LevelError, CodeExpired, subject, "take it out once nothing chains to it",
			"this anchor expired on %s: identity refuses what it signs, while every proxy goes on trusting its key", day(end))
	case end.Before(now):
		l.report(LevelError, CodeExpired, subject, "renew it", "this %s expired on %s", role, day(end))
	case start.After(now) && anchor:
		l.report(LevelWarning, CodeNotYetValid, subject, "check the clocks",
			"this anchor is valid only from %s: identity refuses what it signs until then, proxies trust it already", start.UTC().Format(time.RFC3339))
	case start.After(now):
		l.report(LevelError, CodeNotYetValid, subject, "check the clocks", "this %s is valid only from %s", role, start.UTC().Format(time.RFC3339))
	case end.Before(now.Add(l.opts.ExpiresSoon)):
		l.report(LevelWarning, CodeExpiresSoon, subject, "", "this %s expires on %s, in %s", role, day(end), spanText(end.Sub(now)))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// spanText words a span of time: whole days, or hours and minutes.
func spanText(d time.Duration) string {
	const aDay = 24 * time.Hour
	switch days := int(d / aDay); {
	case days >= 2:
		return fmt.Sprintf("%d days", days)
	case d >= time.Minute:
		return fmt.Sprintf("%dh%dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return "less than a minute"
}

// key applies the rules of `linkerd check` (linkerd2 pkg/issuercerts: ECDSA
// P-256, RSA 2048 and 4096) and those of the proxies (linkerd2-proxy
// linkerd/rustls/src/crypto.rs), which accept more.
func (l *linter) key(c *Certificate) {
	if c.parsed == nil {
		l.report(LevelError, CodeUnreadableByIdentity, c.String(), "take it out, or have it issued anew", "%v: linkerd-identity refuses the whole bundle for it", c.parseErr)
		return
	}
	proxies, check := true, false
	switch k := c.parsed.PublicKey.(type) {
	case *ecdsa.PublicKey:
		bits := k.Curve.Params().BitSize
		check = bits == 256
		proxies = bits >= 256
	case *rsa.PublicKey:
		bits := k.N.BitLen()
		check = bits == 2048 || bits == 4096
		proxies = bits >= 2048 && bits <= 8192
	default:
		proxies = c.parsed.PublicKeyAlgorithm == x509.Ed25519
	}
	switch {
	case !proxies:
		l.report(LevelError, CodeUnsupportedKey, c.String(), "use ECDSA P-256", "proxies cannot verify what a %s key signs", c.Key())
	case !check:
		l.report(LevelWarning, CodeUnsupportedKey, c.String(), "use ECDSA P-256",
			"proxies accept a %s anchor, but `linkerd check`, `install` and `upgrade` refuse it", c.Key())
	}
}

// issuerKey applies the rules for the key that signs leaves: linkerd-identity
// signs with ECDSA and SHA-256 whatever the key, so that others fail for every
// leaf (linkerd2 pkg/tls); `linkerd check` wants P-256 (pkg/issuercerts).
func (l *linter) issuerKey(c *Certificate, subject string) {
	if c.parsed == nil {
		return
	}
	k, ok := c.parsed.PublicKey.(*ecdsa.PublicKey)
	switch {
	case !ok:
		l.report(LevelError, CodeUnsupportedKey, subject, "use ECDSA P-256", "linkerd-identity cannot sign with a %s key: it would issue no certificate at all", c.Key())
	case k.Curve.Params().BitSize != 256:
		l.report(LevelWarning, CodeUnsupportedKey, subject, "use ECDSA P-256", "`linkerd check`, `install` and `upgrade` refuse an issuer with a %s key", c.Key())
	}
}

func weakSignature(c *Certificate) bool {
	if c.parsed == nil {
		return false
	}
	switch c.parsed.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256, x509.ECDSAWithSHA1:
		return true
	}
	return false
}

func signatureName(c *Certificate) string { return c.parsed.SignatureAlgorithm.String() }

// loads says why the proxies of a release do not take the certificate as an
// anchor, nil when they do.
func loads(c *Certificate, r Release) error { return webpki.Loads(c.raw, r) }

// refusedByProxies says why no proxy of any known release takes the certificate
// as an anchor, nil when some do. The newest take most, so they are asked first.
// The answer is kept: most readers meet a certificate many times.
func (c *Certificate) refusedByProxies() error {
	c.loadsOnce.Do(func() {
		for i := len(knownReleases) - 1; i >= 0; i-- {
			if c.loadsNowhere = loads(c, knownReleases[i]); c.loadsNowhere == nil {
				return
			}
		}
	})
	return c.loadsNowhere
}

var knownReleases = Releases()
