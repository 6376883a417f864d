package bundle

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// Fingerprint is the SHA-256 of a certificate's DER: the identity of one
// certificate. Two certificates of one anchor have different fingerprints.
type Fingerprint [sha256.Size]byte

// String returns the fingerprint as 64 lower-case hexadecimal digits, the form
// that `step certificate fingerprint` prints.
func (f Fingerprint) String() string { return hex.EncodeToString(f[:]) }

// ParseFingerprint reads 64 hexadecimal digits in either case, with or without
// colons between the bytes.
func ParseFingerprint(s string) (Fingerprint, error) {
	var f Fingerprint
	b, err := hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	if err != nil || len(b) != len(f) {
		return f, fmt.Errorf("fingerprint %q is not the 64 hexadecimal digits of a SHA-256", s)
	}
	copy(f[:], b)
	return f, nil
}

// AnchorID is the identity of a trust anchor as a proxy keeps it: the SHA-256
// over raw subject, raw SubjectPublicKeyInfo and the raw value of the name
// constraints extension (empty when absent), each preceded by its length as a
// big-endian uint64. rustls reduces a certificate to just these three
// (rustls-pki-types, TrustAnchor), so certificates with one AnchorID are one
// anchor for a proxy, whatever their dates or serial numbers.
type AnchorID [sha256.Size]byte

// String returns the id as 64 lower-case hexadecimal digits.
func (id AnchorID) String() string { return hex.EncodeToString(id[:]) }

// Certificate is one certificate: its DER and what can be read of it. It is
// immutable and safe for concurrent use.
//
// A certificate that Go's parser refuses (a negative serial number, say) is
// still a Certificate when its frame can be read, since a proxy may trust it:
// X509 then says why Go, and with it linkerd-identity, will not take it.
type Certificate struct {
	raw         []byte
	fingerprint Fingerprint
	parsed      *x509.Certificate
	parseErr    error
	odd         *frame // where Go refuses it

	anchorOnce sync.Once
	anchorID   AnchorID

	loadsOnce    sync.Once
	loadsNowhere error // see refusedByProxies
}

// frame holds the parts of a certificate that can be found without judging it,
// as raw DER (with tag and length) unless said otherwise.
type frame struct {
	serial          []byte // content octets
	sigAlg          []byte
	issuer          []byte
	validity        []byte
	subject         []byte
	spki            []byte
	nameConstraints []byte // content of the extension's OCTET STRING
}

// ParseCertificate reads one DER certificate. It fails only where not even the
// frame of a certificate can be made out; see X509 for the judgement of Go.
func ParseCertificate(der []byte) (*Certificate, error) {
	return newCertificate(append([]byte(nil), der...), sha256.Sum256(der))
}

// FromX509 wraps a certificate that Go has parsed.
func FromX509(c *x509.Certificate) (*Certificate, error) {
	return ParseCertificate(c.Raw)
}

func fingerprintOf(c *x509.Certificate) Fingerprint { return sha256.Sum256(c.Raw) }

// newCertificate takes ownership of der.
func newCertificate(der []byte, fp Fingerprint) (*Certificate, error) {
	c := &Certificate{raw: der, fingerprint: fp}
	if c.parsed, c.parseErr = x509.ParseCertificate(der); c.parseErr != nil {
		c.odd = &frame{}
		if c.odd.read(der) != nil {
			return nil, fmt.Errorf("not a certificate: %w", c.parseErr)
		}
	}
	return c, nil
}

func anchorID(parts ...[]byte) AnchorID {
	text := make([]byte, 0, 512)
	for _, p := range parts {
		text = binary.BigEndian.AppendUint64(text, uint64(len(p)))
		text = append(text, p...)
	}
	return sha256.Sum256(text)
}

var oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}

// read fills f from a certificate that Go's parser refused, taking as little
// for granted as it can.
func (f *frame) read(der []byte) error {
	bad := fmt.Errorf("malformed certificate")
	in := cryptobyte.String(der)
	var cert, tbs, serial cryptobyte.String
	if !in.ReadASN1(&cert, cbasn1.SEQUENCE) || !cert.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) ||
		!tbs.ReadASN1(&serial, cbasn1.INTEGER) {
		return bad
	}
	f.serial = serial
	for _, part := range []*[]byte{&f.sigAlg, &f.issuer, &f.validity, &f.subject, &f.spki} {
		if !tbs.ReadASN1Element((*cryptobyte.String)(part), cbasn1.SEQUENCE) {
			return bad
		}
	}
	f.nameConstraints = findNameConstraints(tbs)
	return nil
}

// findNameConstraints walks what follows the SubjectPublicKeyInfo; anything odd
// ends the walk, for this certificate is already known to be odd.
func findNameConstraints(tbs cryptobyte.String) []byte {
	for _, tag := range []uint8{1, 2} { // issuerUniqueID, subjectUniqueID
		tbs.SkipOptionalASN1(cbasn1.Tag(tag).ContextSpecific())
	}
	var wrapper, exts cryptobyte.String
	if !tbs.ReadASN1(&wrapper, cbasn1.Tag(3).Constructed().ContextSpecific()) ||
		!wrapper.ReadASN1(&exts, cbasn1.SEQUENCE) {
		return nil
	}
	for !exts.Empty() {
		var ext, value cryptobyte.String
		var id asn1.ObjectIdentifier
		if !exts.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&id) ||
			!ext.SkipOptionalASN1(cbasn1.BOOLEAN) || !ext.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return nil
		}
		if id.Equal(oidNameConstraints) {
			return value
		}
	}
	return nil
}

// Raw returns a copy of the certificate's DER.
func (c *Certificate) Raw() []byte { return append([]byte(nil), c.raw...) }

// Fingerprint returns the SHA-256 of the certificate's DER.
func (c *Certificate) Fingerprint() Fingerprint { return c.fingerprint }

// AnchorID returns the identity a proxy would keep of it as a trust anchor.
func (c *Certificate) AnchorID() AnchorID {
	c.anchorOnce.Do(func() {
		if c.RawSubject() == nil { // a block of whatever it was
			c.anchorID = anchorID(c.raw)
			return
		}
		c.anchorID = anchorID(c.RawSubject(), c.rawKey(), c.nameConstraints())
	})
	return c.anchorID
}

// X509 returns Go's view of the certificate, or the reason why Go refuses it.
// The result is shared: callers must not change it.
func (c *Certificate) X509() (*x509.Certificate, error) { return c.parsed, c.parseErr }

// RawSubject and RawIssuer return the names as DER, which is how both rule
// sets compare them. The results are shared: callers must not change them.
func (c *Certificate) RawSubject() []byte {
	if c.parsed != nil {
		return c.parsed.RawSubject
	}
	return c.odd.subject
}

// RawIssuer is described at RawSubject.
func (c *Certificate) RawIssuer() []byte {
	if c.parsed != nil {
		return c.parsed.RawIssuer
	}
	return c.odd.issuer
}

// rawKey returns the SubjectPublicKeyInfo as DER.
func (c *Certificate) rawKey() []byte {
	if c.parsed != nil {
		return c.parsed.RawSubjectPublicKeyInfo
	}
	return c.odd.spki
}

// nameConstraints returns the value of that extension, empty when there is none.
func (c *Certificate) nameConstraints() []byte {
	if c.parsed == nil {
		return c.odd.nameConstraints
	}
	return extension(c.parsed, oidNameConstraints)
}

// extension returns the value of an extension, nil when there is none.
func extension(c *x509.Certificate, id asn1.ObjectIdentifier) []byte {
	for _, ext := range c.Extensions {
		if ext.Id.Equal(id) {
			return ext.Value
		}
	}
	return nil
}

// Subject returns the subject for people: the common name, followed by what
// else there is in brackets. It is not unique; SubjectDN is exact.
func (c *Certificate) Subject() string { return nameText(c.RawSubject()) }

// Issuer returns the issuer's name for people, like Subject.
func (c *Certificate) Issuer() string { return nameText(c.RawIssuer()) }

// SubjectDN returns the subject as RFC 4514 writes it, "CN=..."; one that
// cannot be decoded as "#" and the hexadecimal digits of its DER.
func (c *Certificate) SubjectDN() string {
	_, dn := decodeName(c.RawSubject())
	return dn
}

// IssuerDN returns the issuer's name as SubjectDN does the subject's.
func (c *Certificate) IssuerDN() string {
	_, dn := decodeName(c.RawIssuer())
	return dn
}

// Serial returns the serial number, nil where there is none.
func (c *Certificate) Serial() *big.Int {
	if c.parsed != nil {
		return new(big.Int).Set(c.parsed.SerialNumber)
	}
	if len(c.odd.serial) == 0 {
		return nil
	}
	n := new(big.Int).SetBytes(c.odd.serial)
	if c.odd.serial[0]&0x80 != 0 { // two's complement
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(c.odd.serial))))
	}
	return n
}

// Validity returns the first and the last moment at which the certificate is
// valid, zero times where they cannot be read.
func (c *Certificate) Validity() (notBefore, notAfter time.Time) {
	if c.parsed != nil {
		return c.parsed.NotBefore, c.parsed.NotAfter
	}
	var v struct{ NotBefore, NotAfter time.Time }
	if _, err := asn1.Unmarshal(c.odd.validity, &v); err != nil {
		return time.Time{}, time.Time{}
	}
	return v.NotBefore.UTC(), v.NotAfter.UTC()
}

// Key describes the kind of the public key, such as "ECDSA P-256", "RSA 2048"
// or "Ed25519"; "unknown" with the algorithm's OID where Go does not know it.
func (c *Certificate) Key() string {
	var pub any
	if c.parsed != nil {
		pub = c.parsed.PublicKey
	} else if k, err := x509.ParsePKIXPublicKey(c.rawKey()); err == nil { // beside an error k may be a nil of its type
		pub = k
	}
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(c.rawKey(), &spki); err != nil {
		return "unknown"
	}
	return "unknown " + spki.Algorithm.Algorithm.String()
}

// IsCA tells whether the certificate says it is a CA. One that Go refuses does
// not, whatever it says; a version 1 certificate has no way to.
func (c *Certificate) IsCA() bool {
	return c.parsed != nil && c.parsed.BasicConstraintsValid && c.parsed.IsCA
}

// SelfSigned tells whether the certificate's signature was made with its own
// key under its own name.
func (c *Certificate) SelfSigned() bool {
	return c.named(c.RawIssuer()) && c.signed(c)
}

// MaxPathLen returns the path length limit; ok is false when there is none.
func (c *Certificate) MaxPathLen() (n int, ok bool) {
	if !c.IsCA() || c.parsed.MaxPathLen < 0 || (c.parsed.MaxPathLen == 0 && !c.parsed.MaxPathLenZero) {
		return 0, false
	}
	return c.parsed.MaxPathLen, true
}

// signs tells whether Go lets the certificate, as a root, sign others
// (x509.Certificate.CheckSignatureFrom).
func (c *Certificate) signs() bool {
	x := c.parsed
	if x == nil || x.Version == 3 && !x.BasicConstraintsValid || x.BasicConstraintsValid && !x.IsCA {
		return false
	}
	return x.KeyUsage == 0 || x.KeyUsage&x509.KeyUsageCertSign != 0
}

// signed tells whether the key of c made the signature of child, whatever
// else stands against it. It is false where Go cannot read both.
func (c *Certificate) signed(child *Certificate) bool {
	return c.parsed != nil && child.parsed != nil && c.parsed.CheckSignature(
		child.parsed.SignatureAlgorithm, child.parsed.RawTBSCertificate, child.parsed.Signature) == nil
}

// named tells whether the certificate bears the name.
func (c *Certificate) named(name []byte) bool { return bytes.Equal(c.RawSubject(), name) }

// String names the certificate for messages: its subject, shortened where it is
// very long, and the first eight digits of its fingerprint.
func (c *Certificate) String() string {
	const most = 120
	return fmt.Sprintf("%s (%x)", clip(c.Subject(), most), c.fingerprint[:4])
}
