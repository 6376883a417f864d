package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
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
	l := &linter{opts: opts.withDefaults(), union: New()}
	l.add(s.Notes...)
	copies := s.copies(l.union)
	for _, c := range copies {
		l.text(c)
	}
	if l.union.Len() == 0 {
		l.report(LevelError, CodeEmpty, s.Name, "", "no certificate can be read from it")
	}
	l.add(disagreements(copies)...)
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
	l.skipped(b)
	l.anchors()
	return l.findings
}

type linter struct {
	opts     LintOptions
	union    *Bundle          // all certificates of the source
	known    [][]*Certificate // chains, without their leaf
	findings []Finding
}

func (l *linter) add(f ...Finding) { l.findings = append(l.findings, f...) }

func (l *linter) report(level Level, code Code, subject, hint, format string, args ...any) {
	l.add(Finding{Level: level, Code: code, Subject: subject, Hint: hint, Message: fmt.Sprintf(format, args...)})
}

// text judges one text as its consumers read it.
func (l *linter) text(c *textCopy) {
	for _, i := range c.issues {
		if i.Code == CodeUnreadableByIdentity || i.Code == CodeSkippedByProxy {
			continue // said below, by reader and release
		}
		l.report(i.Level, i.Code, c.where(), "", "%s: %s", c.at(i.Line), i.Message)
	}
	if trimmed := bytes.TrimSpace(c.PEM); len(trimmed) > 0 {
		l.asIdentity(c)
		l.asProxies(c)
		// An injected pod gets the text trimmed and one newline; control-plane
		// pods get it as it is.
		if n := max(len(c.PEM), len(trimmed)+1); n > MaxEnvBytes {
			l.report(LevelError, CodeTooLargeForEnv, c.where(), "drop anchors that no peer needs, or use smaller keys",
				"%d bytes do not fit the environment of a proxy (at most %d): its container would not start", n, MaxEnvBytes)
		}
	}
}

// afterLast says where something stands behind the last block, which is what
// identity's reader takes for a certificate that is none.
func (c *textCopy) afterLast(err error) string {
	end := bytes.LastIndex(c.PEM, []byte(endMark))
	if end < 0 || !errors.Is(err, errNotPEM) {
		return ""
	}
	nl := bytes.IndexByte(c.PEM[end:], '\n')
	if nl < 0 || end+nl+1 == len(c.PEM) {
		return ""
	}
	what := "text"
	if len(bytes.TrimSpace(c.PEM[end+nl+1:])) == 0 {
		what = "a blank line or space"
	}
	return fmt.Sprintf(" (%s: %s after the last block)", c.at(lineOf(c.PEM, end+nl+1)), what)
}

const rewriteHint = "`windlass bundle merge` writes a text that every reader accepts"

func (l *linter) asIdentity(c *textCopy) {
	reading := readAsIdentity(c.PEM, l.union)
	switch {
	case reading.Err != nil:
		l.report(LevelError, CodeUnreadableByIdentity, c.where(), rewriteHint,
			"linkerd-identity and every sidecar that starts on this text fail: %v%s", reading.Err, c.afterLast(reading.Err))
	case reading.TruncatedAt > 0:
		l.report(LevelError, CodeTruncatedForIdentity, c.where(), rewriteHint,
			"linkerd-identity stops at the block in %s and silently drops what follows: it reads %d of %d certificates",
			c.at(reading.TruncatedAt), len(reading.Certificates), max(c.held.Len(), len(reading.Certificates)))
	default:
		// Damage of some kinds (joined lines, a byte order mark) makes it lose a
		// block without a word.
		if lost, _ := c.held.Diff(New(reading.Certificates...)); len(lost) > 0 {
			l.report(LevelError, CodeTruncatedForIdentity, c.where(), rewriteHint, "linkerd-identity silently overlooks %s", subjectsOf(lost))
		}
	}
}

// asProxies says what the proxies of each release make of a text; releases that
// agree are named together.
func (l *linter) asProxies(c *textCopy) {
	sections, err := readSections(c.PEM, l.union)
	var refused, skipped refusals
	for _, r := range Releases() {
		reading := readAsProxy(sections, err, r)
		for _, s := range reading.Skipped {
			skipped.add(fmt.Sprintf("%s, the block in %s: %v", s.Certificate, c.at(s.Line), s.Reason), r)
		}
		if reading.Err != nil {
			refused.add(reading.Err.Error(), r)
		}
	}
	if err == nil {
		if lost, _ := c.held.Diff(New(certificatesOf(sections)...)); len(lost) > 0 && len(sections) > 0 {
			l.report(LevelError, CodeSkippedByProxy, c.where(), rewriteHint, "proxies silently overlook %s", subjectsOf(lost))
		}
	}
	for _, o := range refused {
		l.report(LevelError, CodeUnreadableByProxy, c.where(), rewriteHint, "proxies (Linkerd %s) do not start on this text: %s", strings.Join(o.releases, ", "), o.reason)
	}
	for _, o := range skipped {
		l.report(LevelError, CodeSkippedByProxy, c.where(), "", "proxies (Linkerd %s) pass over %s", strings.Join(o.releases, ", "), o.reason)
	}
}

// skipped is asProxies for a bundle that is not in a text yet.
func (l *linter) skipped(b *Bundle) {
	for _, c := range b.Sorted() {
		var skipped refusals
		for _, r := range Releases() {
			if err := loads(c, r); err != nil {
				skipped.add(err.Error(), r)
			}
		}
		for _, o := range skipped {
			l.report(LevelError, CodeSkippedByProxy, c.String(), "have it issued anew: these proxies do not trust it",
				"proxies (Linkerd %s) pass over it: %s", strings.Join(o.releases, ", "), o.reason)
		}
	}
}

// chains judges what a manifest's issuer Secrets hold. A PEM file is taken for
// anchors; `bundle verify` judges chains in PEM.
func (l *linter) chains(s *Source) {
	if !s.Manifest {
		return
	}
	seen := make(map[string]bool)
	for _, t := range s.chains {
		if seen[string(t.PEM)] {
			continue
		}
		seen[string(t.PEM)] = true
		certs, err := ReadChain(t.PEM)
		switch {
		case err != nil:
			l.report(LevelError, CodeBrokenBlock, t.From, "", "the issuer's chain cannot be read: %v", err)
		case len(certs) == 0:
			l.report(LevelError, CodeEmpty, t.From, "", "the issuer's chain holds no certificate")
		case certs[0].IsCA() || certs[0].parsed == nil:
			l.chain(certs, t.From)
		}
	}
}
