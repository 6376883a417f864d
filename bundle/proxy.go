package bundle

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// verifyProxy asks the proxies of every release in question; all must accept.
func verifyProxy(q Query) Verdict {
	v := Verdict{Rules: Proxy, OK: true, Judged: true}
	releases := q.Releases
	if len(releases) == 0 {
		releases = Releases()
	}
	type refusal struct {
		reason   string
		releases []string
	}
	var refusals []refusal
	for _, r := range releases {
		path, res, err := verifyRelease(q, r, &v)
		v.SignatureChecks = max(v.SignatureChecks, res.SignatureChecks)
		if err == "" {
			v.Path = path
			continue
		}
		v.OK = false
		v.Refusing = append(v.Refusing, r)
		i := slices.IndexFunc(refusals, func(f refusal) bool { return f.reason == err })
		if i < 0 {
			refusals = append(refusals, refusal{reason: err})
			i = len(refusals) - 1
		}
		refusals[i].releases = append(refusals[i].releases, r.String())
	}
	if v.OK {
		v.Reason = "verifies: " + pathText(v.Path)
		return v
	}
	v.Path = nil
	if len(refusals) == 1 && len(v.Refusing) == len(releases) {
		v.Reason = refusals[0].reason
		v.Refusing = slices.Clone(releases)
		return v
	}
	var parts []string
	for _, f := range refusals {
		parts = append(parts, fmt.Sprintf("proxies of Linkerd %s refuse: %s", strings.Join(f.releases, ", "), f.reason))
	}
	v.Reason = strings.Join(parts, "; ")
	return v
}

// verifyRelease judges by the rules of one release. The reason is "" when the
// chain verifies.
func verifyRelease(q Query, r Release, v *Verdict) (path []*Certificate, res webpki.Result, reason string) {
	anchors, certs, skipped := loadAnchors(q.Anchors, r)
	for _, s := range skipped {
		if !slices.ContainsFunc(v.Skipped, func(o Skipped) bool { return o.Certificate == s.Certificate }) {
			v.Skipped = append(v.Skipped, s)
		}
	}
	switch {
	case len(q.Anchors) == 0:
		return nil, res, "a proxy does not start: " + errNoTrustRoots.Error()
	case len(anchors) == 0:
		return nil, res, fmt.Sprintf("a proxy does not start: no trust roots loaded (%s: %v)", skipped[0].Certificate, skipped[0].Reason)
	}
	presented := q.Chain
	var chain *webpki.Chain
	switch {
	case len(q.Issuer) > 0:
		presented = q.Issuer
		chain = webpki.ParseIssuer(r, rawOf(q.Issuer), q.Name)
	case len(q.Chain) > 0:
		chain = webpki.ParseChain(r, q.Chain[0].raw, rawOf(q.Chain[1:]))
	default:
		return nil, res, "nothing is presented"
	}
	res, err := chain.Verify(anchors, q.Usage, q.At)
	if err != nil {
		return nil, res, proxyReason(err, presented, len(q.Issuer) > 0, q.Anchors, q.At)
	}
	if len(q.Issuer) == 0 {
		if q.Name != "" && !webpki.MatchesIdentity(q.Chain[0].raw, q.Name) {
			return nil, res, fmt.Sprintf("the chain verifies, but the leaf is not %s: a proxy reads its identity as %q", clip(q.Name), clip(webpki.Identity(q.Chain[0].raw)))
		}
		path = append(path, q.Chain[0])
		presented = q.Chain[1:]
	}
	for _, i := range res.Path {
		path = append(path, presented[i])
	}
	return append(path, certs[res.Anchor]), res, ""
}

// loadAnchors does what a proxy does at its start.
func loadAnchors(certs []*Certificate, r Release) (anchors []*webpki.Anchor, loaded []*Certificate, skipped []Skipped) {
	for _, c := range certs {
		a, err := webpki.ParseAnchor(c.raw, r)
		if err != nil {
			skipped = append(skipped, Skipped{Certificate: c, Reason: err})
			continue
		}
		anchors, loaded = append(anchors, a), append(loaded, c)
	}
	return anchors, loaded, skipped
}

func rawOf(certs []*Certificate) [][]byte {
	raw := make([][]byte, len(certs))
	for i, c := range certs {
		raw[i] = c.raw
	}
	return raw
}

// proxyReason words the verifier's error so that it names what has to change.
// presented is the chain, or an issuer and what stands above it.
func proxyReason(err error, presented []*Certificate, issuerAlone bool, anchors []*Certificate, at time.Time) string {
	var e *webpki.Error
	if !errors.As(err, &e) {
		return err.Error()
	}
	// about names the certificate at fault. For an issuer alone number 0 is the
	// leaf that was thought up below it.
	about := "a certificate"
	var cert *Certificate
	i := e.Cert
	if issuerAlone {
		i--
	}
	if i >= 0 && i < len(presented) {
		cert = presented[i]
		about = cert.String()
	}
	switch e.Kind {
	case webpki.UnknownIssuer:
		top := topOf(presented)
		return fmt.Sprintf("%s is signed by %q, which is neither presented nor in the trust set (%s)", top, top.Issuer(), subjectsOf(anchors))
	case webpki.InvalidSignatureForPublicKey:
		if cert != nil && slices.ContainsFunc(anchors, func(a *Certificate) bool { return bytes.Equal(a.RawSubject(), cert.RawIssuer()) }) {
			return fmt.Sprintf("%s is signed by %q, and an anchor of that name is trusted, but it is not its key that signed: two roots share a name", about, cert.Issuer())
		}
		return fmt.Sprintf("the signature of %s is not that of its issuer's key", about)
	case webpki.CertExpired, webpki.CertNotValidYet:
		if cert != nil {
			start, end := cert.Validity()
			if e.Kind == webpki.CertExpired {
				return fmt.Sprintf("%s expired on %s", about, end.UTC().Format(time.RFC3339))
			}
			return fmt.Sprintf("%s is not valid before %s", about, start.UTC().Format(time.RFC3339))
		}
	case webpki.CaUsedAsEndEntity:
		return fmt.Sprintf("the chain begins with %s, which is a CA: a leaf has to come first (--issuer judges an issuer alone)", about)
	case webpki.EndEntityUsedAsCa:
		return fmt.Sprintf("%s is used as a CA but is none", about)
	case webpki.PathLenConstraintViolated:
		return fmt.Sprintf("%s may not stand above so many CAs: its path length limit is too small", about)
	case webpki.NameConstraintViolation:
		return "name constraints on the path forbid a name of the chain"
	case webpki.RequiredEkuNotFound, webpki.RequiredEkuNotFoundContext, webpki.EmptyEkuExtension:
		return fmt.Sprintf("the extended key usage of %s does not allow this side of the handshake", about)
	case webpki.MaximumSignatureChecksExceeded:
		return fmt.Sprintf("a proxy gives up after %d signature checks: too many anchors share a subject", maxSignatureChecks)
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
