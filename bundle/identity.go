package bundle

import (
	"crypto/x509"
	"fmt"
	"time"
)

// identityJudge does what linkerd-identity does when it loads an issuer
// (linkerd2 pkg/identity/service.go loadCredentials, pkg/tls Crt.Verify): read
// the trust roots, read the issuer file, verify its first certificate with the
// rest as intermediates, and ask that it is a CA.
func identityJudge(q Query) judge {
	issuer := q.Issuer
	if len(issuer) == 0 && len(q.Chain) > 0 {
		issuer = q.Chain[1:]
	}
	no := func(judged bool, format string, args ...any) judge {
		v := Verdict{Rules: Identity, Judged: judged, Reason: fmt.Sprintf(format, args...)}
		return func(time.Time) (Verdict, time.Time) { return v, time.Time{} }
	}
	if len(issuer) == 0 {
		return no(false, "nothing to judge: no issuer follows the leaf")
	}
	if len(q.Anchors) == 0 {
		return no(true, "linkerd-identity would not start: the trust set is empty")
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	known := make(map[Fingerprint]*Certificate, len(q.Anchors)+len(issuer))
	for _, c := range q.Anchors {
		if c.parsed == nil {
			return no(true, "linkerd-identity would not start: it cannot read the anchor %s: %v", c, c.parseErr)
		}
		roots.AddCert(c.parsed)
		known[c.fingerprint] = c
	}
	for i, c := range issuer {
		if c.parsed == nil {
			return no(true, "linkerd-identity cannot read %s in its issuer file: %v", c, c.parseErr)
		}
		if i > 0 {
			intermediates.AddCert(c.parsed)
		}
		known[c.fingerprint] = c
	}
	first := issuer[0]
	return func(at time.Time) (Verdict, time.Time) {
		v := Verdict{Rules: Identity, Judged: true}
		if at.IsZero() {
			at = at.Add(1) // to crypto/x509 the zero time means "look at the clock"
		}
		paths, err := first.parsed.Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: at})
		if err != nil {
			v.Reason = identityReason(err, issuer, q.Anchors, at)
			return v, time.Time{}
		}
		if !first.parsed.IsCA {
			v.Reason = fmt.Sprintf("%s is not a CA, so it cannot issue", first)
			return v, time.Time{}
		}
		// Of several paths the one that lasts.
		var until time.Time
		for _, path := range paths {
			certs := make([]*Certificate, len(path))
			for i, c := range path {
				certs[i] = known[fingerprintOf(c)]
			}
			if end := earliestEnd(certs); v.Path == nil || end.After(until) {
				v.Path, until = certs, end
			}
		}
		v.OK = true
		v.Reason = "verifies: " + pathText(v.Path)
		return v, until
	}
}
