package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

const (
	// MaxEnvBytes is the longest bundle that a proxy can be started with, in
	// bytes: Linux caps one string of the environment at 128 KiB, its name, the
	// equals sign and the final NUL included
	// (LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS= takes 39).
	MaxEnvBytes = 131_033

	// DefaultExpiresSoon is how long before its end a certificate is reported:
	// the 60 days of `linkerd check` (linkerd2 pkg/issuercerts).
	DefaultExpiresSoon = 60 * 24 * time.Hour

	// DefaultLeafLifetime is how long a workload certificate lives: the chart's
	// identity.issuer.issuanceLifetime and clockSkewAllowance (24h0m0s, 20s).
	DefaultLeafLifetime = 24*time.Hour + 20*time.Second

	// maxSignatureChecks is the budget of rustls-webpki (verify_cert.rs,
	// Budget::default).
	maxSignatureChecks = 100
)

// LintOptions say how a bundle is judged. The zero value of each field means
// its documented default.
type LintOptions struct {
	Now          time.Time     // required: the moment of judgement
	ExpiresSoon  time.Duration // DefaultExpiresSoon
	LeafLifetime time.Duration // DefaultLeafLifetime
}

func (o LintOptions) withDefaults() LintOptions {
	if o.ExpiresSoon == 0 {
		o.ExpiresSoon = DefaultExpiresSoon
	}
	if o.LeafLifetime == 0 {
		o.LeafLifetime = DefaultLeafLifetime
	}
	return o
}

// Lint reports everything about a source that its consumers would stumble
// over, and what its owner ought to know. It never fails: what cannot be read
// is a finding.
func Lint(s *Source, opts LintOptions) []Finding {
	l := &linter{opts: opts.withDefaults()}
	l.add(s.Notes...)
	l.texts(s)
	l.chains(s)
	l.anchors()
	return l.findings
}

// LintBundle reports on the certificates of a bundle alone. The chains are
// those known to be presented under it; they may be nil.
func LintBundle(b *Bundle, chains [][]*Certificate, opts LintOptions) []Finding {
	l := &linter{opts: opts.withDefaults(), union: b}
	for _, c := range chains {
		l.chain(c, "")
	}
	if b.Len() == 0 {
		l.report(LevelError, CodeEmpty, "", "", "the bundle holds no certificate")
	}
	l.anchors()
	return l.findings
}

type linter struct {
	opts     LintOptions
	union    *Bundle // all certificates of the source
	longest  int     // certificates in the longest known chain, leaf included
	findings []Finding
}

func (l *linter) add(f ...Finding) { l.findings = append(l.findings, f...) }

func (l *linter) report(level Level, code Code, subject, hint, format string, args ...any) {
	l.add(Finding{Level: level, Code: code, Subject: subject, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

// texts judges each text as its consumers read it, and gathers the union.
func (l *linter) texts(s *Source) {
	l.union = New()
	seen := make(map[string]*Bundle)
	var holders []holder
	for _, t := range s.anchors {
		b, again := seen[string(t.PEM)]
		if !again {
			b = l.text(t)
			seen[string(t.PEM)] = b
		}
		for _, c := range b.certs {
			l.union.Add(c, t.From)
		}
		holders = addHolder(holders, b, t.From)
	}
	if l.union.Len() == 0 {
		l.report(LevelError, CodeEmpty, s.Name, "", "no certificate can be read from it")
	}
	l.add(disagreement(holders)...)
}

func (l *linter) text(t Text) *Bundle {
	found, issues := scan(t.PEM, l.union)
	for _, i := range issues {
		if i.Code == CodeUnreadableByIdentity {
			continue // said below, once for the text
		}
		l.report(i.Level, i.Code, t.From, "", "%s: %s", t.at(i.Line), i.Message)
	}
	b := New()
	for _, f := range found {
		b.Add(f.cert)
	}

	const rewrite = "`windlass bundle merge` writes a text that every reader accepts"
	identity := readAsIdentity(t.PEM)
	blank := len(bytes.TrimSpace(t.PEM)) == 0
	switch {
	case blank:
	case identity.Err != nil:
		l.report(LevelError, CodeUnreadableByIdentity, t.From, rewrite,
			"linkerd-identity and every sidecar that starts on this text fail: %v", identity.Err)
	case identity.TruncatedAt > 0:
		l.report(LevelError, CodeTruncatedForIdentity, t.From, rewrite,
			"linkerd-identity stops at the block in %s and silently drops what follows: it reads %d of %d certificates",
			t.at(identity.TruncatedAt), len(identity.Certificates), max(b.Len(), len(identity.Certificates)))
	}
	if !blank {
		l.asProxies(t, rewrite)
	}
	// An injected pod gets the text trimmed and one newline; control-plane pods
	// get it as it is.
	if n := max(len(t.PEM), len(bytes.TrimSpace(t.PEM))+1); n > MaxEnvBytes {
		l.report(LevelError, CodeTooLargeForEnv, t.From, "drop anchors that no peer needs, or use smaller keys",
			"%d bytes do not fit the environment of a proxy (at most %d): its container would not start", n, MaxEnvBytes)
	}
	return b
}

func (l *linter) asProxies(t Text, hint string) {
	type outcome struct {
		text     string
		releases []string
	}
	var refused, skipped []outcome
	note := func(list *[]outcome, text string, r Release) {
		for i := range *list {
			if (*list)[i].text == text {
				(*list)[i].releases = append((*list)[i].releases, r.String())
				return
			}
		}
		*list = append(*list, outcome{text, []string{r.String()}})
	}
	for _, r := range Releases() {
		reading := readAsProxy(t.PEM, r)
		if reading.Err != nil {
			note(&refused, reading.Err.Error(), r)
			continue
		}
		for _, s := range reading.Skipped {
			note(&skipped, fmt.Sprintf("%s, the block in %s: %v", s.Certificate, t.at(s.Line), s.Reason), r)
		}
	}
	for _, o := range refused {
		l.report(LevelError, CodeUnreadableByProxy, t.From, hint, "proxies (Linkerd %s) do not start on this text: %s", strings.Join(o.releases, ", "), o.text)
	}
	for _, o := range skipped {
		l.report(LevelError, CodeSkippedByProxy, t.From, "", "proxies (Linkerd %s) pass over %s", strings.Join(o.releases, ", "), o.text)
	}
}

// holder is a set of anchors and the places that hold exactly it.
type holder struct {
	set    *Bundle
	places []string
}

func addHolder(holders []holder, set *Bundle, place string) []holder {
	for i := range holders {
		if holders[i].set == set || holders[i].set.Equal(set) {
			holders[i].places = append(holders[i].places, place)
			return holders
		}
	}
	return append(holders, holder{set, []string{place}})
}

// Disagreements reports copies of the anchors within one source that do not
// hold the same certificates.
func (s *Source) Disagreements() []Finding {
	var holders []holder
	seen := make(map[string]*Bundle)
	for _, t := range s.anchors {
		b, ok := seen[string(t.PEM)]
		if !ok {
			found, _ := scan(t.PEM, nil)
			b = New()
			for _, f := range found {
				b.Add(f.cert)
			}
			seen[string(t.PEM)] = b
		}
		holders = addHolder(holders, b, t.From)
	}
	return disagreement(holders)
}

func disagreement(holders []holder) []Finding {
	if len(holders) < 2 {
		return nil
	}
	var parts []string
	for _, h := range holders {
		where := h.places[0]
		if n := len(h.places) - 1; n > 0 {
			where += fmt.Sprintf(" and %d more", n)
		}
		held := "nothing"
		if h.set.Len() > 0 {
			held = subjectsOf(h.set.Sorted())
		}
		parts = append(parts, where+" holds "+held)
	}
	return []Finding{{
		Level: LevelWarning, Code: CodeCopiesDisagree,
		Message: "copies of the trust anchors differ: " + strings.Join(parts, "; "),
		Hint:    "normal in the middle of a rotation; else an upgrade may bring an old copy back",
	}}
}

func (l *linter) chains(s *Source) {
	if !s.Manifest {
		return // a PEM file is taken for anchors; see `bundle verify` for chains
	}
	for _, t := range s.chains {
		certs, err := ReadChain(t.PEM)
		if err != nil || len(certs) == 0 {
			l.report(LevelError, CodeBrokenBlock, t.From, "", "the issuer's chain cannot be read: %v", errors.Join(err))
			continue
		}
		if certs[0].IsCA() {
			l.chain(certs, t.From)
		}
	}
}

// chain judges an issuer and what stands above it.
func (l *linter) chain(issuer []*Certificate, from string) {
	length := len(issuer)
	if length > 0 && issuer[0].IsCA() {
		length++ // the leaf below it
	}
	l.longest = max(l.longest, length)
	for _, c := range issuer {
		l.dates(c, "issuer chain", from)
		if weakSignature(c) {
			l.report(LevelError, CodeWeakSignature, c.String(), "sign it anew with SHA-256", "its signature (%s) is accepted by no verifier", signatureName(c))
		}
	}
	for i, c := range issuer {
		_, end := c.Validity()
		left := end.Sub(l.opts.Now)
		if left <= 0 || left >= l.opts.LeafLifetime {
			continue
		}
		what := "the issuer"
		if i > 0 {
			what = "a certificate above the issuer"
		}
		l.report(LevelWarning, CodeChainShortensLeaves, c.String(), "renew it, or take it out of the chain once nobody needs it",
			"%s ends in %s, before a leaf issued now would (%s): identity cuts leaves to the earliest end in its chain", what, left.Round(time.Minute), l.opts.LeafLifetime)
	}
}

func (l *linter) anchors() {
	if l.union == nil {
		return
	}
	for _, c := range l.union.Sorted() {
		l.anchor(c)
	}
	for _, twins := range l.union.Twins() {
		l.report(LevelWarning, CodeDuplicateAnchor, twins[0].String(), "`windlass bundle merge --compact` drops a twin where that is proved to change nothing",
			"%d certificates are one anchor (same subject and key): %s", len(twins), subjectsOf(twins))
	}
	for _, alike := range groups(l.union.Sorted(), func(c *Certificate) string { return string(c.RawSubject()) }) {
		l.sameSubject(alike)
	}
}

func (l *linter) sameSubject(alike []*Certificate) {
	// Proxies find anchors by subject only: each anchor of the name that is not
	// the right one costs a check before the right one is tried, and then every
	// certificate of the chain costs one.
	checks := len(alike) + max(l.longest, 2) - 1
	level, hint := LevelWarning, "give each root a subject of its own, as `windlass root create` does"
	text := "each costs every handshake a signature check"
	if checks > maxSignatureChecks {
		level = LevelError
		text = fmt.Sprintf("a handshake needs up to %d signature checks and proxies give up after %d", checks, maxSignatureChecks)
	}
	l.report(level, CodeSameSubject, alike[0].Subject(), hint, "%d certificates share this subject: %s", len(alike), text)
}

func (l *linter) anchor(c *Certificate) {
	l.dates(c, "anchor", "")
	if !c.IsCA() && c.parsed != nil {
		l.report(LevelError, CodeNotACA, c.String(), "take it out: anchors are roots",
			"it is not a CA: identity accepts nothing under it, but proxies trust whatever its key has signed")
	}
	l.key(c)
	if weakSignature(c) {
		l.report(LevelWarning, CodeWeakSignature, c.String(), "re-issue it: `windlass root reissue` keeps the key",
			"it is signed with %s; no verifier looks at an anchor's own signature, but scanners do", signatureName(c))
	}
	l.report(LevelInfo, CodeTrustScope, c.String(), "",
		"this anchor can mint any identity of every cluster that trusts it")
}

func (l *linter) dates(c *Certificate, role, from string) {
	start, end := c.Validity()
	now := l.opts.Now
	subject := c.String()
	if from != "" {
		subject = from + ": " + subject
	}
	switch {
	case end.IsZero():
	case end.Before(now) && role == "anchor":
		l.report(LevelError, CodeExpired, subject, "take it out once nothing chains to it",
			"this anchor expired on %s: identity refuses what it signs, while every proxy goes on trusting its key", day(end))
	case end.Before(now):
		l.report(LevelError, CodeExpired, subject, "renew the issuer", "this %s expired on %s", role, day(end))
	case start.After(now) && role == "anchor":
		l.report(LevelWarning, CodeNotYetValid, subject, "check the clocks",
			"this anchor is valid only from %s: identity refuses what it signs until then, proxies trust it already", start.UTC().Format(time.RFC3339))
	case start.After(now):
		l.report(LevelError, CodeNotYetValid, subject, "check the clocks", "this %s is valid only from %s", role, start.UTC().Format(time.RFC3339))
	case end.Before(now.Add(l.opts.ExpiresSoon)):
		l.report(LevelWarning, CodeExpiresSoon, subject, "", "this %s expires on %s, in less than %d days", role, day(end), int(l.opts.ExpiresSoon.Hours()/24))
	}
}

func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

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

// loads tells whether the proxies of a release take the certificate as anchor.
func loads(c *Certificate, r Release) bool {
	_, err := webpki.ParseAnchor(c.raw, r)
	return err == nil
}
