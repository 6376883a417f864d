package bundle

import (
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
	anchorID    AnchorID
	frame       frame
	parsed      *x509.Certificate
	parseErr    error
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

// newCertificate takes ownership of der.
func newCertificate(der []byte, fp Fingerprint) (*Certificate, error) {
	c := &Certificate{raw: der, fingerprint: fp}
	c.parsed, c.parseErr = x509.ParseCertificate(der)
	if c.parseErr == nil {
		c.frame = frame{
			issuer: c.parsed.RawIssuer, subject: c.parsed.RawSubject,
			spki: c.parsed.RawSubjectPublicKeyInfo,
		}
		for _, ext := range c.parsed.Extensions {
			if ext.Id.Equal(oidNameConstraints) {
				c.frame.nameConstraints = ext.Value
			}
		}
	} else if err := c.frame.read(der); err != nil {
		return nil, fmt.Errorf("not a certificate: %w", c.parseErr)
	}
	c.anchorID = anchorID(c.frame.subject, c.frame.spki, c.frame.nameConstraints)
	return c, nil
}

func anchorID(parts ...[]byte) (id AnchorID) {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	h.Sum(id[:0])
	return id
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
func (c *Certificate) AnchorID() AnchorID { return c.anchorID }

// X509 returns Go's view of the certificate, or the reason why Go refuses it.
// The result is shared: callers must not change it.
func (c *Certificate) X509() (*x509.Certificate, error) { return c.parsed, c.parseErr }

// RawSubject and RawIssuer return the names as DER, which is how both rule
// sets compare them. The results are shared: callers must not change them.
func (c *Certificate) RawSubject() []byte { return c.frame.subject }

// RawIssuer is described at RawSubject.
func (c *Certificate) RawIssuer() []byte { return c.frame.issuer }

// Subject returns the subject for people: the common name, followed by what
// else there is in brackets. It is not unique; SubjectDN is exact.
func (c *Certificate) Subject() string { return nameText(c.frame.subject) }

// Issuer returns the issuer's name for people, like Subject.
func (c *Certificate) Issuer() string { return nameText(c.frame.issuer) }

// SubjectDN returns the subject as RFC 4514 writes it, "CN=..."; one that
// cannot be decoded as "#" and the hexadecimal digits of its DER.
func (c *Certificate) SubjectDN() string {
	_, dn := decodeName(c.frame.subject)
	return dn
}

// IssuerDN returns the issuer's name as SubjectDN does the subject's.
func (c *Certificate) IssuerDN() string {
	_, dn := decodeName(c.frame.issuer)
	return dn
}

func decodeName(raw []byte) (rdns pkix.RDNSequence, dn string) {
	if rest, err := asn1.Unmarshal(raw, &rdns); err != nil || len(rest) != 0 {
		return nil, "#" + hex.EncodeToString(raw) // RFC 4514 section 2.4
	}
	return rdns, printable(rdns.String())
}

func nameText(raw []byte) string {
	rdns, dn := decodeName(raw)
	if dn == "" {
		return "(empty name)"
	}
	var name pkix.Name
	name.FillFromRDNSequence(&rdns)
	if name.CommonName == "" {
		return dn
	}
	cn := printable(name.CommonName)
	var others pkix.RDNSequence
	for _, rdn := range rdns {
		if len(rdn) != 1 || !rdn[0].Type.Equal(oidCommonName) {
			others = append(others, rdn)
		}
	}
	switch {
	case len(others) == 0:
		return cn
	case len(others) == 1 && len(others[0]) == 1 && name.SerialNumber != "":
		return cn + " [" + printable(name.SerialNumber) + "]" // the key id of issuers made here
	}
	return cn + " [" + printable(others.String()) + "]"
}

var oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}

// printable keeps text of a certificate from steering the terminal it is
// shown on.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return '\ufffd'
		}
		return r
	}, strings.ToValidUTF8(s, "\ufffd"))
}

// Serial returns the serial number, nil where there is none.
func (c *Certificate) Serial() *big.Int {
	if c.parsed != nil {
		return new(big.Int).Set(c.parsed.SerialNumber)
	}
	if len(c.frame.serial) == 0 {
		return nil
	}
	n := new(big.Int).SetBytes(c.frame.serial)
	if c.frame.serial[0]&0x80 != 0 { // two's complement
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(c.frame.serial))))
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
	if _, err := asn1.Unmarshal(c.frame.validity, &v); err != nil {
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
	} else {
		pub, _ = x509.ParsePKIXPublicKey(c.frame.spki)
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
	if _, err := asn1.Unmarshal(c.frame.spki, &spki); err != nil {
		return "unknown"
	}
	return "unknown " + spki.Algorithm.Algorithm.String()
}

// IsCA tells whether the certificate says it is a CA.
func (c *Certificate) IsCA() bool {
	return c.parsed != nil && c.parsed.BasicConstraintsValid && c.parsed.IsCA
}

// SelfSigned tells whether the certificate's signature was made with its own
// key under its own name.
func (c *Certificate) SelfSigned() bool {
	return c.parsed != nil && string(c.frame.subject) == string(c.frame.issuer) &&
		c.parsed.CheckSignature(c.parsed.SignatureAlgorithm, c.parsed.RawTBSCertificate, c.parsed.Signature) == nil
}

// MaxPathLen returns the path length limit; ok is false when there is none.
func (c *Certificate) MaxPathLen() (n int, ok bool) {
	if !c.IsCA() || c.parsed.MaxPathLen < 0 || (c.parsed.MaxPathLen == 0 && !c.parsed.MaxPathLenZero) {
		return 0, false
	}
	return c.parsed.MaxPathLen, true
}

// String names the certificate for messages: its subject and the first eight
// digits of its fingerprint.
func (c *Certificate) String() string {
	return fmt.Sprintf("%s (%s)", c.Subject(), c.fingerprint.String()[:8])
}
