package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// CheckOptions tune what an identity issuer is held against. The zero value
// asks for what every current release of Linkerd asks for.
type CheckOptions struct {
	// DNSName must be among the certificate's DNS names, as releases up to 2.8
	// demand; see IdentityName. "" asks for none.
	DNSName string
	// AllowUnusual turns what only the command line of Linkerd refuses (an
	// issuer on another ECDSA curve than P-256 or signed with another hash than
	// SHA-256, an anchor that is neither ECDSA P-256 nor RSA 2048 or 4096) from
	// an error into a warning.
	AllowUnusual bool
}

// maxIntermediates is how many CA certificates a proxy follows between leaf
// and anchor (MAX_SUB_CA_COUNT in rustls-webpki, src/verify_cert.rs).
const maxIntermediates = 6

// CheckPair is CheckIssuer, and the key must belong to the first certificate
// (ErrKeyMismatch).
func CheckPair(chain []*x509.Certificate, key crypto.Signer, roots []*x509.Certificate, now time.Time, opts CheckOptions) ([]Warning, error) {
	var f findings
	if len(chain) > 0 && (key == nil || !sameKey(key.Public(), chain[0].PublicKey)) {
		f.refuse(ErrKeyMismatch, "issuer %s", describe(chain[0]))
	}
	judgeIssuer(&f, chain, roots, now, opts)
	return f.warnings, f.err()
}

// CheckIssuer tells whether Linkerd would work with an identity issuer: the
// chain as it stands in the issuer Secret (issuer first, then cross-signed
// roots), under the given roots, at the given moment. Nothing else is tried:
// pass each trust set that the chain has to verify under in a call of its own.
//
// It refuses what any of these would refuse, for all at once:
//
//   - linkerd-identity: the chain must verify by the rules of crypto/x509 for
//     server authentication, the roots' dates and path lengths included
//     (ErrUntrusted, ErrExpired, ErrNotYetValid, ErrPathLen, ErrUsage); the
//     issuer must be a CA (ErrNotCA); leaves are signed with ECDSA and SHA-256,
//     which takes an ECDSA key (ErrUnsupportedKey).
//   - `linkerd check`, `install` and `upgrade` (pkg/issuercerts): the issuer has
//     an ECDSA P-256 key and is signed with ECDSAWithSHA256 or SHA256WithRSA (ErrSignatureAlgorithm), the
//     anchor has an ECDSA P-256, RSA 2048 or RSA 4096 key.
//   - proxies: every certificate of the chain is X.509 v3, has room for the CA
//     certificates below it, and either no extended key usage or both server
//     and client authentication, for a proxy is one or the other in turn.
//
// Every certificate of the chain must be in its dates, needed for a path or
// not: linkerd-identity ends leaves with the earliest of them.
func CheckIssuer(chain, roots []*x509.Certificate, now time.Time, opts CheckOptions) ([]Warning, error) {
	var f findings
	judgeIssuer(&f, chain, roots, now, opts)
	return f.warnings, f.err()
}

func judgeIssuer(f *findings, chain, roots []*x509.Certificate, now time.Time, opts CheckOptions) {
	switch {
	case now.IsZero():
		// crypto/x509 would take the zero time for "now" and read the clock.
		f.refuse(ErrValidity, "no moment given")
		return
	case len(chain) == 0:
		f.refuse(ErrUntrusted, "no issuer certificate")
		return
	case len(roots) == 0:
		f.refuse(ErrUntrusted, "issuer %s: no roots given", describe(chain[0]))
		return
	case len(chain) > maxIntermediates:
		f.refuse(ErrPathLen, "a chain of %d certificates, and proxies follow at most %d", len(chain), maxIntermediates)
	}
	c := chain[0]
	if _, ecdsa := c.PublicKey.(*ecdsa.PublicKey); !ecdsa {
		f.refuse(ErrUnsupportedKey, "issuer %s has a key of kind %s, and linkerd-identity signs leaves with ECDSA and SHA-256 whatever the key", describe(c), keyKind(c.PublicKey))
	} else if !isP256(c.PublicKey) {
		f.either(opts.AllowUnusual && proxiesAccept(c.PublicKey), WarnUnusualKey, ErrUnsupportedKey,
			"issuer %s has a key of kind %s, and `linkerd check` and `upgrade` accept ECDSA P-256 only", describe(c), keyKind(c.PublicKey))
	}
	if c.SignatureAlgorithm != x509.ECDSAWithSHA256 && c.SignatureAlgorithm != x509.SHA256WithRSA {
		f.either(opts.AllowUnusual && proxiesAcceptSignature(c.SignatureAlgorithm), WarnSignature, ErrSignatureAlgorithm,
			"issuer %s is signed with %s, and `linkerd check` and `upgrade` accept ECDSA-SHA256 and SHA256-RSA only", describe(c), c.SignatureAlgorithm)
	}
	if opts.DNSName != "" && !slices.Contains(c.DNSNames, opts.DNSName) {
		f.refuse(ErrName, "issuer %s lacks the DNS name %s, which Linkerd up to 2.8 demands", describe(c), opts.DNSName)
	}
	selfSigned := sameAnchor(c, c) && sameName(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
	if sameName(c.RawSubject, c.RawIssuer) && !selfSigned {
		f.warn(WarnSameSubject, "issuer %s has the same subject as its signer, which OpenSSL may take for self-signed", describe(c))
	}
	for i, below := range depths(chain) {
		judgePresented(f, chain[i], below, now)
	}
	if len(f.problems) > 0 {
		return // the verifier would only say it again, with fewer words
	}
	judgePath(f, chain, roots, now, opts)
}

// depths counts for each certificate of a chain the CA certificates between it
// and the leaf, by names: cross-signed roots that stand side by side have one
// each. What leads nowhere has 0 below it.
func depths(chain []*x509.Certificate) []int {
	below := make([]int, len(chain))
	reached := []int{0}
	for at := 0; at < len(reached); at++ {
		child := reached[at]
		for i, c := range chain {
			if !slices.Contains(reached, i) && bytes.Equal(c.RawSubject, chain[child].RawIssuer) {
				below[i] = below[child] + 1
				reached = append(reached, i)
			}
		}
	}
	return below
}

// judgePresented holds one certificate of the presented chain against the
// rules of the proxies, with `below` other CA certificates beneath it.
func judgePresented(f *findings, c *x509.Certificate, below int, now time.Time) {
	if c.Version != 3 {
		f.refuse(ErrUntrusted, "%s is X.509 version %d, and proxies accept 3 only", describe(c), c.Version)
		return
	}
	if !c.IsCA {
		f.refuse(ErrNotCA, "%s", describe(c))
	}
	if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		if below == 0 { // neither identity nor proxies look at the issuer's
			f.warn(WarnUsage, "the key usage of %s does not cover signing certificates, which strict verifiers refuse", describe(c))
		} else {
			f.refuse(ErrNotCA, "the key usage of %s does not cover signing certificates", describe(c))
		}
	}
	judgeDates(f, c, now)
	if !proxiesAccept(c.PublicKey) {
		f.refuse(ErrUnsupportedKey, "%s has a key of kind %s, which proxies do not accept", describe(c), keyKind(c.PublicKey))
	}
	if !proxiesAcceptSignature(c.SignatureAlgorithm) {
		f.refuse(ErrSignatureAlgorithm, "%s is signed with %s, which proxies do not accept", describe(c), c.SignatureAlgorithm)
	}
	if n, limited := pathLen(c); limited && n < below {
		f.refuse(ErrPathLen, "%s allows %d CA certificates below it, and there are %d", describe(c), n, below)
	}
	if limitsUsage(c) {
		// anyExtendedKeyUsage is no way out: proxies look for the very one.
		if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			f.refuse(ErrUsage, "%s has an extended key usage without server authentication", describe(c))
		}
		if !slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			f.refuse(ErrUsage, "%s has an extended key usage without client authentication", describe(c))
		}
	}
}

func judgeDates(f *findings, c *x509.Certificate, now time.Time) {
	if now.Before(c.NotBefore) {
		f.refuse(ErrNotYetValid, "%s begins at %s", describe(c), rfc3339(c.NotBefore))
	}
	if now.After(c.NotAfter) {
		f.refuse(ErrExpired, "%s ended at %s", describe(c), rfc3339(c.NotAfter))
	}
}

func limitsUsage(c *x509.Certificate) bool { return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) > 0 }

// proxiesAcceptSignature follows linkerd/rustls/src/crypto.rs of
// linkerd2-proxy: no SHA-1, no RSA-PSS.
func proxiesAcceptSignature(a x509.SignatureAlgorithm) bool {
	switch a {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA:
		return true
	}
	return false
}

// judgePath verifies as linkerd-identity does (Crt.Verify in pkg/tls).
func judgePath(f *findings, chain, roots []*x509.Certificate, now time.Time, opts CheckOptions) {
	v := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, r := range roots {
		v.Roots.AddCert(r)
	}
	for _, c := range chain[1:] {
		v.Intermediates.AddCert(c)
	}
	paths, err := chain[0].Verify(v)
	if err != nil {
		f.problems = append(f.problems, verifyError(chain[0], err, now))
		return
	}
	// One sound path is enough; of several, take the anchor with least to say.
	var best *findings
	for _, path := range paths {
		var g findings
		anchor := path[len(path)-1]
		if !cliAccepts(anchor.PublicKey) {
			g.either(opts.AllowUnusual, WarnUnusualKey, ErrUnsupportedKey,
				"anchor %s has a key of kind %s, and `linkerd check` and `upgrade` accept ECDSA P-256, RSA 2048 and RSA 4096 only", describe(anchor), keyKind(anchor.PublicKey))
		}
		if n, limited := pathLen(anchor); limited && n < len(path)-1 {
			g.warn(WarnPathLen, "anchor %s allows %d CA certificates below it, and there are %d: Linkerd does not mind, verifiers that judge leaves strictly do", describe(anchor), n, len(path)-1)
		}
		if best == nil || len(g.problems) < len(best.problems) || len(g.problems) == len(best.problems) && len(g.warnings) < len(best.warnings) {
			best = &g
		}
	}
	f.problems = append(f.problems, best.problems...)
	f.warnings = append(f.warnings, best.warnings...)
}

// verifyError adds the sentinel that says the same as crypto/x509's error,
// whose text does not say which certificate is meant.
func verifyError(c *x509.Certificate, err error, now time.Time) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) {
		return fmt.Errorf("issuer %s: %w: %w", describe(c), ErrUntrusted, err)
	}
	about := invalid.Cert
	if about == nil {
		about = c
	}
	var sentinel error
	switch invalid.Reason {
	case x509.Expired: // of a root; the chain's own dates were judged before
		sentinel = ErrExpired
		if now.Before(about.NotBefore) {
			sentinel = ErrNotYetValid
		}
		return fmt.Errorf("issuer %s: %w: %s is valid from %s to %s: %w", describe(c), ErrUntrusted, describe(about),
			rfc3339(about.NotBefore), rfc3339(about.NotAfter), sentinel)
	case x509.TooManyIntermediates:
		sentinel = ErrPathLen
	case x509.IncompatibleUsage:
		sentinel = ErrUsage
	case x509.NotAuthorizedToSign:
		sentinel = ErrNotCA
	default:
		return fmt.Errorf("issuer %s: %w: %w", describe(c), ErrUntrusted, err)
	}
	return fmt.Errorf("issuer %s: %w: %s: %w: %w", describe(c), ErrUntrusted, describe(about), sentinel, err)
}

// signerRules are what a certificate must be to sign another.
type signerRules struct {
	below        int  // CA certificates that will stand below it
	anyPathLen   bool // the path length does not matter
	allowShort   bool // too short a path length is a warning
	anyDate      bool // the dates do not matter
	allowExpired bool // having expired is a warning
	allowUnusual bool // a key that only Linkerd's command line refuses is a warning
}

// judgeSigner holds a certificate that is to sign another against the rules,
// with its key. All constructors go through here.
func judgeSigner(f *findings, by *x509.Certificate, key crypto.Signer, now time.Time, rules signerRules) {
	if now.IsZero() {
		f.refuse(ErrValidity, "no moment given")
		return
	}
	if by == nil {
		f.refuse(ErrNotCA, "no certificate to sign with")
		return
	}
	if key == nil || !sameKey(key.Public(), by.PublicKey) {
		f.refuse(ErrKeyMismatch, "%s", describe(by))
	}
	judgeCA(f, by)
	if !rules.anyDate {
		if rules.allowExpired && now.After(by.NotAfter) {
			f.warn(WarnSignerExpired, "%s ended at %s: proxies ignore an anchor's dates, linkerd-identity does not", describe(by), rfc3339(by.NotAfter))
		} else {
			judgeDates(f, by, now)
		}
	}
	switch {
	case !proxiesAccept(by.PublicKey):
		f.refuse(ErrUnsupportedKey, "%s has a key of kind %s, which proxies do not accept", describe(by), keyKind(by.PublicKey))
	case !cliAccepts(by.PublicKey):
		f.either(rules.allowUnusual, WarnUnusualKey, ErrUnsupportedKey,
			"%s has a key of kind %s, and `linkerd check` and `upgrade` accept anchors with ECDSA P-256, RSA 2048 and RSA 4096 only", describe(by), keyKind(by.PublicKey))
	}
	if n, limited := pathLen(by); limited && n < rules.below && !rules.anyPathLen {
		if rules.below == 2 && n == 1 {
			// identity verifies issuers, not leaves, and so counts one less.
			f.warn(WarnPathLen, "%s allows 1 CA certificate below it, and there will be 2: Linkerd does not mind, verifiers that judge leaves strictly do", describe(by))
		} else {
			why := "Linkerd does not mind, verifiers that judge leaves strictly do"
			if rules.below == 2 {
				why = "linkerd-identity says \"too many intermediates\""
			}
			f.either(rules.allowShort, WarnPathLen, ErrPathLen, "%s allows %d CA certificates below it, and there will be %d: %s", describe(by), n, rules.below, why)
		}
	}
	if len(by.UnhandledCriticalExtensions) > 0 {
		f.refuse(ErrUntrusted, "%s has a critical extension (%s) that linkerd-identity does not know", describe(by), by.UnhandledCriticalExtensions[0])
	}
	if limitsUsage(by) && !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageAny) {
		if !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
			f.either(rules.anyDate, WarnUsage, ErrUsage, "%s has an extended key usage without server authentication, which linkerd-identity asks of the whole path", describe(by))
		} else if !slices.Contains(by.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
			f.warn(WarnUsage, "%s has an extended key usage without client authentication: proxies ignore that of an anchor, strict verifiers do not", describe(by))
		}
	}
}

func judgeCA(f *findings, c *x509.Certificate) {
	if !c.IsCA || !c.BasicConstraintsValid {
		f.refuse(ErrNotCA, "%s", describe(c))
	} else if c.KeyUsage != 0 && c.KeyUsage&x509.KeyUsageCertSign == 0 {
		f.refuse(ErrNotCA, "the key usage of %s does not cover signing certificates", describe(c))
	}
}
