package bundle

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// This file words why a chain does not verify, so that a person knows which
// certificate has to change: the verifiers themselves say little.

// reason words the error of a proxy's verifier.
func (p *proxy) reason(err error, at time.Time) string {
	var e *webpki.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	presented, i := p.q.Chain, e.Cert
	if len(p.q.Issuer) > 0 {
		presented, i = p.q.Issuer, e.Cert-1 // number 0 is the leaf that was thought up below it
	}
	var cert *Certificate
	about := "a certificate"
	if i >= 0 && i < len(presented) {
		cert = presented[i]
		about = cert.String()
	}
	switch e.Kind {
	case webpki.UnknownIssuer, webpki.InvalidSignatureForPublicKey:
		return unknownSigner(presented, p.q.Anchors, cert)
	case webpki.CertExpired, webpki.CertNotValidYet:
		if cert != nil {
			return fmt.Sprintf("%s %s", about, datesText(cert, at))
		}
	case webpki.CaUsedAsEndEntity:
		return fmt.Sprintf("the chain begins with %s, which is a CA: a leaf has to come first (--issuer judges an issuer alone)", about)
	case webpki.EndEntityUsedAsCa:
		return fmt.Sprintf("%s is used as a CA but is none", about)
	case webpki.PathLenConstraintViolated:
		return fmt.Sprintf("%s may not stand above so many CAs: its path length limit%s is too small", about, limitText(cert))
	case webpki.NameConstraintViolation:
		return "name constraints forbid a name of the chain" + constrainedText(presented, p.q.Anchors)
	case webpki.RequiredEkuNotFound, webpki.RequiredEkuNotFoundContext, webpki.EmptyEkuExtension:
		return fmt.Sprintf("the extended key usage of %s does not allow the %s side of a handshake", about, p.q.Usage)
	case webpki.MaximumSignatureChecksExceeded:
		return fmt.Sprintf("a proxy gives up after %d signature checks: too many anchors share a subject%s", maxSignatureChecks, crowdText(presented, p.q.Anchors))
	case webpki.MaximumPathDepthExceeded:
		return "more than 6 CA certificates would stand between the leaf and an anchor"
	case webpki.UnsupportedCriticalExtension:
		return fmt.Sprintf("%s has a critical extension that proxies do not know", about)
	case webpki.UnsupportedCertVersion:
		return fmt.Sprintf("%s is not an X.509 version 3 certificate", about)
	case webpki.UnsupportedSignatureAlgorithm, webpki.UnsupportedSignatureAlgorithmContext,
		webpki.UnsupportedSignatureAlgorithmForPublicKey, webpki.UnsupportedSignatureAlgorithmForPublicKeyContext:
		return fmt.Sprintf("the signature of %s is of a kind that proxies do not accept", about)
	}
	return fmt.Sprintf("%s: %v", about, err)
}

// identityReason words Go's error.
func identityReason(err error, issuer, anchors []*Certificate, at time.Time) string {
	first := issuer[0]
	// What stands against the issuer itself comes first: Go looks at it first.
	if text := datesText(first, at); text != "" {
		return fmt.Sprintf("%s %s", first, text)
	}
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) {
		culprit := "a certificate"
		if invalid.Cert != nil {
			culprit = nameOf(invalid.Cert, issuer, anchors)
		}
		switch invalid.Reason {
		case x509.IncompatibleUsage:
			return fmt.Sprintf("an extended key usage on the path of %s does not allow server authentication%s", first, usageText(issuer, anchors))
		case x509.CANotAuthorizedForThisName, x509.TooManyConstraints, x509.UnconstrainedName:
			return fmt.Sprintf("name constraints%s forbid %s: %v", constrainedText(issuer, anchors), culprit, err)
		}
	}
	// Every certificate on the way up may have an anchor that signed it and is
	// not usable, and that is what the operator has to hear of.
	way := upward(issuer)
	for below, c := range way {
		for _, a := range anchors {
			if !a.named(c.RawIssuer()) || !a.signed(c) {
				continue
			}
			if fault := anchorFault(a, c, below, at); fault != "" {
				return fault
			}
		}
	}
	for below, c := range way[1:] {
		if text := datesText(c, at); text != "" {
			return fmt.Sprintf("%s %s", c, text)
		}
		if !c.signs() {
			return fmt.Sprintf("%s is not allowed to sign certificates", c)
		}
		if limit, ok := c.MaxPathLen(); ok && below > limit {
			return fmt.Sprintf("%s may not stand above so many CAs: its path length limit%s is too small", c, limitText(c))
		}
	}
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) {
		return unknownSigner(issuer, anchors, nil)
	}
	return fmt.Sprintf("%s does not verify: %v", first, err)
}

// anchorFault says why linkerd-identity does not accept c under the anchor that
// signed it, "" when the anchor itself has no fault. below is how many
// certificates of the chain stand between the issuer and the anchor.
func anchorFault(a, c *Certificate, below int, at time.Time) string {
	text := datesText(a, at)
	switch {
	case text != "":
		return fmt.Sprintf("the anchor %s, which signed %s, %s", a, c, text)
	case !a.signs():
		return fmt.Sprintf("the anchor %s, which signed %s, is not allowed to sign certificates", a, c)
	case len(a.parsed.UnhandledCriticalExtensions) > 0:
		return fmt.Sprintf("the anchor %s, which signed %s, has a critical extension that linkerd-identity does not know", a, c)
	case below == 0 && a.fingerprint != c.fingerprint && a.named(c.RawSubject()) && bytes.Equal(a.rawKey(), c.rawKey()):
		return fmt.Sprintf("%s is its own root, and the trust set holds only its twin %s: linkerd-identity wants that very certificate among its roots", c, a)
	}
	if limit, ok := a.MaxPathLen(); ok && below > limit {
		return fmt.Sprintf("the anchor %s may not stand above so many CAs: its path length limit%s is too small", a, limitText(a))
	}
	return ""
}

// unknownSigner words that nothing trusted has signed the chain. suspect is the
// certificate whose signature failed, where that is known.
func unknownSigner(presented, anchors []*Certificate, suspect *Certificate) string {
	way := upward(presented)
	if suspect != nil {
		way = append([]*Certificate{suspect}, way...)
	}
	for _, c := range way {
		for _, a := range anchors {
			if a.named(c.RawIssuer()) && !a.signed(c) {
				return fmt.Sprintf("%s is signed by %q, and the trusted %s has that name, but it is not its key that signed: two roots share a name",
					c, clip(c.Issuer(), 120), a)
			}
		}
	}
	if suspect != nil {
		return fmt.Sprintf("the signature of %s is not that of its issuer's key", suspect)
	}
	top := way[len(way)-1]
	return fmt.Sprintf("%s is signed by %q, which is neither presented nor in the trust set (%s)", top, clip(top.Issuer(), 120), subjectsOf(anchors))
}

// upward follows the presented certificates by name from the first, no further
// than any verifier goes.
func upward(chain []*Certificate) []*Certificate {
	const most = 10
	way := chain[:1:1]
	for len(way) < most {
		top := way[len(way)-1]
		var next *Certificate
		for _, c := range chain {
			if c.named(top.RawIssuer()) && !c.named(top.RawSubject()) {
				next = c
				break
			}
		}
		if next == nil {
			break
		}
		way = append(way, next)
	}
	return way
}

// datesText says that a certificate is not valid at a moment, "" when it is.
func datesText(c *Certificate, at time.Time) string {
	start, end := c.Validity()
	switch {
	case at.Before(start):
		return fmt.Sprintf("is not valid before %s", start.UTC().Format(time.RFC3339))
	case at.After(end):
		return fmt.Sprintf("expired on %s", end.UTC().Format(time.RFC3339))
	}
	return ""
}

// nameOf finds one of the certificates judged by Go's copy of it.
func nameOf(x *x509.Certificate, pools ...[]*Certificate) string {
	f := fingerprintOf(x)
	for _, pool := range pools {
		for _, c := range pool {
			if c.fingerprint == f {
				return c.String()
			}
		}
	}
	return "a certificate"
}

func limitText(c *Certificate) string {
	if c == nil {
		return ""
	}
	n, ok := c.MaxPathLen()
	if !ok {
		return ""
	}
	return fmt.Sprintf(" (%d)", n)
}

// constrainedText names the certificates that hold name constraints.
func constrainedText(pools ...[]*Certificate) string {
	var holders []*Certificate
	for _, pool := range pools {
		for _, c := range pool {
			if len(c.nameConstraints()) > 0 {
				holders = append(holders, c)
			}
		}
	}
	if len(holders) == 0 {
		return ""
	}
	return " (they stand in " + subjectsOf(holders) + ")"
}

// usageText names the certificates whose extended key usages Go would not
// accept for a server.
func usageText(pools ...[]*Certificate) string {
	var holders []*Certificate
	for _, pool := range pools {
		for _, c := range pool {
			if c.parsed != nil && !servesServers(c.parsed) {
				holders = append(holders, c)
			}
		}
	}
	if len(holders) == 0 {
		return ""
	}
	return " (see " + subjectsOf(holders) + ")"
}

// servesServers tells whether Go lets the certificate stand on a path for
// server authentication, which is the usage that linkerd-identity asks for.
func servesServers(x *x509.Certificate) bool {
	if len(x.ExtKeyUsage) == 0 && len(x.UnknownExtKeyUsage) == 0 {
		return true
	}
	for _, u := range x.ExtKeyUsage {
		if u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny {
			return true
		}
	}
	return false
}

// crowdText names the subject that most of the anchors that matter share.
func crowdText(presented, anchors []*Certificate) string {
	most, name := 0, ""
	for _, c := range upward(presented) {
		n := 0
		for _, a := range anchors {
			if a.named(c.RawIssuer()) {
				n++
			}
		}
		if n > most {
			most, name = n, c.Issuer()
		}
	}
	if most == 0 {
		return ""
	}
	return fmt.Sprintf(" (%d have %q)", most, clip(name, 120))
}
