package issuer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/big"
	"time"
)

// Default validities and backdating.
const (
	DefaultRootName       = "root.linkerd.cluster.local"
	DefaultRootValidity   = 87600 * time.Hour
	DefaultIssuerValidity = 8760 * time.Hour
	// DefaultBackdate keeps a fresh certificate valid for peers whose clock is
	// behind: 30 seconds are enough to break one that begins now.
	DefaultBackdate = time.Hour
)

const caUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign

var (
	oidSubjectKeyID     = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage         = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName   = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasicConstraints = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidNameConstraints  = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidAuthorityKeyID   = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage      = asn1.ObjectIdentifier{2, 5, 29, 37}
)

// dates are the validity of a certificate: from now less the backdating until
// now plus the validity. Certificates know whole seconds only.
func dates(now time.Time, validity, fallback, backdate time.Duration) (from, until time.Time, err error) {
	if now.IsZero() {
		return from, until, fmt.Errorf("no moment given: %w", ErrValidity)
	}
	now = now.UTC().Truncate(time.Second)
	if validity == 0 {
		validity = fallback
	}
	if validity < time.Second {
		return from, until, fmt.Errorf("a validity of %s: %w", validity, ErrValidity)
	}
	switch {
	case backdate == 0:
		backdate = DefaultBackdate
	case backdate < 0:
		backdate = 0
	}
	return now.Add(-backdate), now.Add(validity), nil
}

// serial is a positive random number of 128 bits.
func serial(random io.Reader) (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(random, b); err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	n := new(big.Int).SetBytes(b)
	if n.Sign() == 0 {
		n.SetInt64(1)
	}
	return n, nil
}

// create fills in the serial number and the signature algorithm, signs, and
// parses the result. crypto/x509 checks the signature it got from the signer,
// and that the signer's key is the parent's.
func create(template, parent *x509.Certificate, pub crypto.PublicKey, signer crypto.Signer, random io.Reader) (*x509.Certificate, error) {
	if random == nil {
		random = rand.Reader
	}
	var err error
	if template.SerialNumber, err = serial(random); err != nil {
		return nil, err
	}
	template.SignatureAlgorithm = signatureAlgorithm(signer.Public())
	if template.SubjectKeyId == nil {
		if template.SubjectKeyId, err = subjectKeyID(pub); err != nil {
			return nil, err
		}
	}
	der, err := x509.CreateCertificate(random, template, parent, pub, signer)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return x509.ParseCertificate(der)
}

// signatureAlgorithm is SHA-256 for every kind of key that leaves a choice.
// `linkerd check` and `linkerd upgrade` accept ECDSAWithSHA256 and SHA256WithRSA
// only (pkg/issuercerts of linkerd2), proxies accept SHA-256 with every curve,
// so a larger hash would only add a failure.
func signatureAlgorithm(pub crypto.PublicKey) x509.SignatureAlgorithm {
	switch pub.(type) {
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256
	case *rsa.PublicKey:
		return x509.SHA256WithRSA
	case ed25519.PublicKey:
		return x509.PureEd25519
	}
	return x509.UnknownSignatureAlgorithm // crypto/x509 chooses, or refuses
}

func isP256(pub crypto.PublicKey) bool {
	k, ok := pub.(*ecdsa.PublicKey)
	return ok && k.Curve == elliptic.P256()
}

// cliAccepts tells whether `linkerd check`, `install` and `upgrade` accept an
// anchor with this key (pkg/issuercerts of linkerd2; RSA since 2.12).
func cliAccepts(pub crypto.PublicKey) bool {
	if k, ok := pub.(*rsa.PublicKey); ok {
		return k.N.BitLen() == 2048 || k.N.BitLen() == 4096
	}
	return isP256(pub)
}

// proxiesAccept tells whether proxies verify signatures by this key
// (linkerd/rustls/src/crypto.rs of linkerd2-proxy).
func proxiesAccept(pub crypto.PublicKey) bool {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return k.Curve == elliptic.P256() || k.Curve == elliptic.P384() || k.Curve == elliptic.P521()
	case *rsa.PublicKey:
		return k.N.BitLen() >= 2048 && k.N.BitLen() <= 8192
	case ed25519.PublicKey:
		return true
	}
	return false
}

// keyKind is how messages name a key: "ECDSA P-256", "RSA 2048", ...
func keyKind(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", pub)
}

func sameKey(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// pathLen returns the path length limit, if there is one.
func pathLen(c *x509.Certificate) (int, bool) {
	if !c.BasicConstraintsValid || c.MaxPathLen < 0 || c.MaxPathLen == 0 && !c.MaxPathLenZero {
		return 0, false
	}
	return c.MaxPathLen, true
}

func extension(c *x509.Certificate, oid asn1.ObjectIdentifier) (pkix.Extension, bool) {
	for _, e := range c.Extensions {
		if e.Id.Equal(oid) {
			return e, true
		}
	}
	return pkix.Extension{}, false
}

// sameAnchor tells whether proxies take both for one anchor.
func sameAnchor(a, b *x509.Certificate) bool {
	x, _ := extension(a, oidNameConstraints)
	y, _ := extension(b, oidNameConstraints)
	return bytes.Equal(a.RawSubject, b.RawSubject) &&
		bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo) && bytes.Equal(x.Value, y.Value)
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }
