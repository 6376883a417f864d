package webpki

import (
	"bytes"
	"strings"
)

// ParseIssuer takes an issuer and what stands above it as the chain of a leaf
// that the issuer has signed and that has no fault of its own: for judging an
// issuer before it has signed anything. The leaf carries the identity name, a
// DNS name or a URI, for the name constraints above it, or no name at all where
// name is "". In the [Result], index 0 of the path is the issuer.
//
// The issuer's key has to be one that can sign by some algorithm of the release;
// its signature on the leaf counts as a signature check. An issuer that cannot be
// parsed is what [Chain.Verify] reports.
func ParseIssuer(rel Release, issuer [][]byte, name string) *Chain {
	c := &Chain{release: rel, certs: make([]parsed, 1, 1+len(issuer))}
	for i, der := range issuer {
		crt, err := parseCert(bytes.Clone(der), rel.rules(), false)
		c.certs = append(c.certs, parsed{cert: crt, err: err.at(i + 1)})
	}
	leaf := &c.certs[0]
	switch {
	case len(issuer) == 0:
		leaf.err = fail(BadDer)
	case c.certs[1].err != nil:
		leaf.err = c.certs[1].err
	default:
		signer := c.certs[1].cert
		leaf.cert = &cert{issuer: signer.subject, subjectAltName: altName(name)}
		leaf.signer = signer.spki
	}
	return c
}

// altName is the content of a subjectAltName extension with one name.
func altName(name string) []byte {
	if name == "" {
		return nil
	}
	tag := byte(0x80 | nameDNS)
	if strings.Contains(name, "://") {
		tag = 0x80 | nameURI
	}
	der := []byte{tag}
	switch n := len(name); {
	case n < 0x80:
		der = append(der, byte(n))
	case n < 0x100:
		der = append(der, 0x81, byte(n))
	case n < maxValue:
		der = append(der, 0x82, byte(n>>8), byte(n))
	default: // too long for webpki: a name that cannot be read
		return der
	}
	der = append(der, name...)
	return der
}
