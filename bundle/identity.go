package bundle

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// verifyIdentity does what linkerd-identity does when it loads an issuer
// (linkerd2 pkg/identity/service.go loadCredentials, pkg/tls Crt.Verify): read
// the trust roots, read the issuer file, verify its first certificate with the
// rest as intermediates, and ask that it is a CA.
func verifyIdentity(q Query) Verdict {
	v := Verdict{Rules: Identity, Judged: true}
	issuer := q.Issuer
	if len(issuer) == 0 && len(q.Chain) > 0 {
		issuer = q.Chain[1:]
	}
	if len(issuer) == 0 {
		v.Judged = false
		v.Reason = "nothing to judge: no issuer follows the leaf"
		return v
	}
	if len(q.Anchors) == 0 {
		v.Reason = "linkerd-identity would not start: the trust set is empty"
		return v
	}
	roots := x509.NewCertPool()
	for _, c := range q.Anchors {
		if c.parsed == nil {
			v.Reason = fmt.Sprintf("linkerd-identity would not start: it cannot read the anchor %s: %v", c, c.parseErr)
			return v
		}
		roots.AddCert(c.parsed)
	}
	intermediates := x509.NewCertPool()
	for _, c := range issuer {
		if c.parsed == nil {
			v.Reason = fmt.Sprintf("linkerd-identity cannot read %s in its issuer file: %v", c, c.parseErr)
			return v
		}
	}
	for _, c := range issuer[1:] {
		intermediates.AddCert(c.parsed)
	}
	first := issuer[0]
	paths, err := first.parsed.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: q.At})
	if err != nil {
		v.Reason = identityReason(err, issuer, q.Anchors, q.At)
		return v
	}
	if !first.parsed.IsCA {
		v.Reason = fmt.Sprintf("%s is not a CA, so it cannot issue", first)
		return v
	}
	v.OK = true
	v.Path = certificatesOf(paths[0], issuer, q.Anchors)
	v.Reason = "verifies: " + pathText(v.Path)
	return v
}

// certificatesOf finds the certificates of Go's path among those judged.
func certificatesOf(path []*x509.Certificate, pools ...[]*Certificate) []*Certificate {
	byParsed := make(map[*x509.Certificate]*Certificate)
	byDER := make(map[string]*Certificate)
	for _, pool := range pools {
		for _, c := range pool {
			byParsed[c.parsed] = c
			byDER[string(c.raw)] = c
		}
	}
	out := make([]*Certificate, 0, len(path))
	for _, p := range path {
		c := byParsed[p]
		if c == nil {
			c = byDER[string(p.Raw)]
		}
		out = append(out, c)
	}
	return out
}

// identityReason words Go's error so that it names what has to change.
func identityReason(err error, issuer, anchors []*Certificate, at time.Time) string {
	first := issuer[0]
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid):
		culprit := "a certificate"
		if invalid.Cert != nil {
			if c, cerr := FromX509(invalid.Cert); cerr == nil {
				culprit = c.String()
			}
		}
		switch invalid.Reason {
		case x509.Expired:
			return fmt.Sprintf("%s %s", culprit, datesText(invalid.Cert, at))
		case x509.TooManyIntermediates:
			return fmt.Sprintf("%s may not stand above so many CAs: its path length limit is too small", culprit)
		case x509.NotAuthorizedToSign:
			return fmt.Sprintf("%s is not allowed to sign certificates", culprit)
		case x509.IncompatibleUsage:
			return fmt.Sprintf("an extended key usage on the path of %s does not allow server authentication", first)
		case x509.CANotAuthorizedForThisName, x509.TooManyConstraints, x509.UnconstrainedName:
			return fmt.Sprintf("name constraints of %s forbid it: %v", culprit, err)
		}
		return fmt.Sprintf("%s: %v", culprit, err)
	case errors.As(err, &unknown):
		top := topOf(issuer)
		sameName := false
		for _, a := range anchors {
			sameName = sameName || string(a.RawSubject()) == string(top.RawIssuer())
		}
		if sameName {
			return fmt.Sprintf("%s is signed by %q, and no usable anchor of that name has the key that signed it: %v", top, top.Issuer(), err)
		}
		return fmt.Sprintf("%s is signed by %q, which is not in the trust set (%s)", top, top.Issuer(), subjectsOf(anchors))
	}
	return fmt.Sprintf("%s does not verify: %v", first, err)
}

// topOf follows the presented certificates upward by name from the first.
func topOf(chain []*Certificate) *Certificate {
	top := chain[0]
	for range chain {
		var next *Certificate
		for _, c := range chain {
			if c != top && string(c.RawSubject()) == string(top.RawIssuer()) && string(c.RawSubject()) != string(top.RawSubject()) {
				next = c
				break
			}
		}
		if next == nil {
			break
		}
		top = next
	}
	return top
}

func datesText(c *x509.Certificate, at time.Time) string {
	switch {
	case c == nil:
		return "has expired or is not yet valid"
	case at.Before(c.NotBefore):
		return fmt.Sprintf("is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	default:
		return fmt.Sprintf("expired on %s", c.NotAfter.UTC().Format(time.RFC3339))
	}
}
