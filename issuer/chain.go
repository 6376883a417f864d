package issuer

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"
)

// Chain is what stands in Linkerd's issuer Secret and what proxies present
// after their leaf: the identity issuer, then cross-signed roots.
type Chain struct {
	// Certificates are in presented order, the issuer first.
	Certificates []*x509.Certificate
	// NotAfter is the earliest end among them. Linkerd's identity ends every
	// leaf then at the latest, and once it has passed signs leaves that are
	// dead already: the cross-signed root must leave the chain before.
	NotAfter time.Time
	// EndsFirst is the certificate that ends then.
	EndsFirst *x509.Certificate
}

// NewChain puts an issuer and cross-signed roots together. Each cross-signed
// root must have signed a certificate before it, proved by name and signature
// (ErrNotSigner): usually they are siblings, the issuer's root signed by
// several others. A self-signed root does not belong in a chain (ErrSameAnchor),
// nor does a certificate twice; more certificates than proxies follow (6) are
// ErrPathLen. Dates are not judged; see CheckIssuer for that.
func NewChain(issuer *x509.Certificate, crossSigned ...*x509.Certificate) (*Chain, error) {
	var f findings
	if issuer == nil {
		return nil, fmt.Errorf("put a chain together: no issuer: %w", ErrNotCA)
	}
	judgeCA(&f, issuer)
	all := []*x509.Certificate{issuer}
	for _, x := range crossSigned {
		if x == nil {
			return nil, fmt.Errorf("put a chain together: no certificate: %w", ErrNotCA)
		}
		judgeCA(&f, x)
		below, twice := -1, false
		for i, c := range all {
			twice = twice || bytes.Equal(c.Raw, x.Raw)
			if below < 0 && didSign(x, c) {
				below = i
			}
		}
		switch {
		case twice:
			f.refuse(ErrSameAnchor, "%s stands in the chain twice", describe(x))
		case bytes.Equal(x.RawSubject, x.RawIssuer) && didSign(x, x):
			f.refuse(ErrSameAnchor, "%s is self-signed, so it proves nothing to those who do not trust it, and the others have it", describe(x))
		case below < 0:
			f.refuse(ErrNotSigner, "%s", describe(x))
		}
		all = append(all, x)
	}
	if len(all) > maxIntermediates {
		f.refuse(ErrPathLen, "%d certificates, and proxies follow at most %d", len(all), maxIntermediates)
	}
	if err := f.err(); err != nil {
		return nil, fmt.Errorf("put a chain together: %w", err)
	}
	chain := &Chain{Certificates: all, NotAfter: issuer.NotAfter, EndsFirst: issuer}
	for _, x := range all[1:] {
		if x.NotAfter.Before(chain.NotAfter) {
			chain.NotAfter, chain.EndsFirst = x.NotAfter, x
		}
	}
	return chain, nil
}

// PEM returns the chain as text, ending in exactly one newline.
func (c *Chain) PEM() []byte { return EncodePEM(c.Certificates...) }

// EncodePEM returns certificates as PEM in the given order, ending in exactly
// one newline.
func EncodePEM(certs ...*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, c := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.Bytes()
}
