package issuer

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// RequestOptions shape a certificate request for an identity issuer. The zero
// value is good for a default install of Linkerd.
type RequestOptions struct {
	// Namespace, TrustDomain, CommonName, ExactName: as in IntermediateOptions.
	Namespace   string
	TrustDomain string
	CommonName  string
	ExactName   bool
	// Rand is handed to the signer; nil means crypto/rand.Reader.
	Rand io.Reader
}

// Request makes a certificate request (PKCS#10, PEM) for an identity issuer,
// signed with the issuer's key, which must be ECDSA P-256. It asks for what
// Intermediate makes, spelled out as extensions so that other CAs understand
// it: CA with path length 0, key usage certSign and cRLSign, the DNS name.
//
// Errors: ErrUnsupportedKey, ErrName.
func Request(key crypto.Signer, opts RequestOptions) ([]byte, error) {
	if key == nil || !isP256(key.Public()) {
		return nil, fmt.Errorf("make a certificate request: %s, and Linkerd wants ECDSA P-256: %w", signerKind(key), ErrUnsupportedKey)
	}
	identity, err := IdentityName(opts.Namespace, opts.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	if opts.CommonName == "" {
		opts.CommonName = identity
	}
	subject, err := issuerSubject(opts.CommonName, opts.ExactName, key.Public())
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	if opts.Rand == nil {
		opts.Rand = rand.Reader
	}
	der, err := x509.CreateCertificateRequest(opts.Rand, &x509.CertificateRequest{
		Subject: subject, DNSNames: []string{identity}, SignatureAlgorithm: x509.ECDSAWithSHA256,
		ExtraExtensions: []pkix.Extension{
			{Id: oidBasicConstraints, Critical: true, Value: []byte{0x30, 6, 1, 1, 0xff, 2, 1, 0}}, // CA:TRUE, pathlen:0
			{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 1, 6}},                           // certSign, cRLSign
		},
	}, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// Bounds of a request. An honest one has about 600 bytes of PEM.
const (
	maxRequest        = 16 << 10
	maxSubject        = 1 << 10
	maxSubjectParts   = 10
	maxAttributeRunes = 128
)

// ParseRequest reads one certificate request, PEM or DER, of at most 16 KiB,
// and checks its signature. It is for showing what SignRequest would judge;
// every fault is ErrRequest.
func ParseRequest(request []byte) (*x509.CertificateRequest, error) {
	if len(request) > maxRequest {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", len(request), maxRequest, ErrRequest)
	}
	der := request
	if bytes.Contains(request, []byte("-----BEGIN")) {
		block, rest := pem.Decode(request)
		switch {
		case block == nil:
			return nil, fmt.Errorf("malformed PEM: %w", ErrRequest)
		case block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST":
			return nil, fmt.Errorf("a PEM block of type %s: %w", quote(block.Type), ErrRequest)
		case len(bytes.TrimSpace(rest)) > 0:
			return nil, fmt.Errorf("more than one PEM block: %w", ErrRequest)
		}
		der = block.Bytes
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRequest, err)
	}
	// The key before the signature: verifying with a giant RSA key is what a
	// hostile request would have us do.
	if !isP256(csr.PublicKey) {
		return nil, fmt.Errorf("%w: its key is %s, and Linkerd wants ECDSA P-256: %w", ErrRequest, keyKind(csr.PublicKey), ErrUnsupportedKey)
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return nil, fmt.Errorf("%w: signed with %s: %w", ErrRequest, csr.SignatureAlgorithm, ErrSignatureAlgorithm)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("%w: its signature is bad", ErrRequest)
	}
	return csr, nil
}

// SignRequest signs a request for an identity issuer with the root's key: the
// half of the work that is done where that key is. The request is not trusted.
//
// Of the request it takes the public key (ECDSA P-256, and the request's
// signature proves that its sender holds the private half) and the subject,
// written anew after it was judged: ordinary attributes only, exactly one
// common name, bounded, printable. All else comes from opts and is the same as
// from Intermediate. A DNS name in the request must be the IdentityName of
// opts.Namespace and opts.TrustDomain; none is fine; any other name refuses the
// request, as does asking for CA:FALSE and any critical extension that would
// not be granted. Others are left out, with WarnIgnoredExtensions.
//
// opts.CommonName, when set, must be the request's. Unset, any name will do, with
// WarnName where it is not the IdentityName; but a workload's identity is refused:
// its request is not turned into a CA by mistake. opts.ExactName has no meaning
// here.
//
// Errors: ErrRequest, and those of Intermediate.
func SignRequest(request []byte, by *x509.Certificate, byKey crypto.Signer, now time.Time, opts IntermediateOptions) (*Signed, error) {
	identity, err := IdentityName(opts.Namespace, opts.TrustDomain)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate request: %w", err)
	}
	csr, err := ParseRequest(request)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate request: %w", err)
	}
	subject, err := requestedSubject(csr, opts.CommonName)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate request: %w", err)
	}
	ignored, err := judgeExtensions(csr, identity)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate request: %w", err)
	}
	signed, err := signIssuer(subject, csr.PublicKey, identity, by, byKey, now, opts)
	if err != nil {
		return nil, fmt.Errorf("sign a certificate request: %w", err)
	}
	if cn := csr.Subject.CommonName; opts.CommonName == "" && cn != identity {
		signed.Warnings = append(signed.Warnings, warnf(WarnName, "the request's common name is %s; Linkerd names its issuers %s", quote(cn), identity))
	}
	if len(ignored) > 0 {
		signed.Warnings = append(signed.Warnings, warnf(WarnIgnoredExtensions, "the request asked for extensions that were not granted: %s", strings.Join(ignored, ", ")))
	}
	return signed, nil
}

// workloadMark stands in the identity of every workload, <service account>.
// <namespace>.serviceaccount.identity.<linkerd namespace>.<trust domain>.
const workloadMark = ".serviceaccount.identity."

// subjectAttributes are those of RFC 5280, section 4.1.2.4, that people use:
// common name, serial number, country, locality, province, street,
// organization, organizational unit, postal code (arcs below 2.5.4), and
// domainComponent.
var subjectAttributes = []asn1.ObjectIdentifier{
	{2, 5, 4, 3}, {2, 5, 4, 5}, {2, 5, 4, 6}, {2, 5, 4, 7}, {2, 5, 4, 8}, {2, 5, 4, 9}, {2, 5, 4, 10}, {2, 5, 4, 11}, {2, 5, 4, 17},
	{0, 9, 2342, 19200300, 100, 1, 25},
}

// requestedSubject judges the subject and returns it in Go's own encoding,
// whatever string types the request used: one name, one form.
func requestedSubject(csr *x509.CertificateRequest, want string) (pkix.Name, error) {
	if len(csr.RawSubject) > maxSubject || len(csr.Subject.Names) > maxSubjectParts {
		return pkix.Name{}, fmt.Errorf("%w: a subject of %d attributes and %d bytes: %w", ErrRequest, len(csr.Subject.Names), len(csr.RawSubject), ErrName)
	}
	var name pkix.Name
	commonNames := 0
	for _, a := range csr.Subject.Names {
		value, ok := a.Value.(string)
		if !ok || value == "" || !utf8.ValidString(value) || utf8.RuneCountInString(value) > maxAttributeRunes ||
			strings.IndexFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			return pkix.Name{}, fmt.Errorf("%w: subject attribute %s is %s: %w", ErrRequest, a.Type, quote(fmt.Sprint(a.Value)), ErrName)
		}
		known := false
		for _, oid := range subjectAttributes {
			known = known || oid.Equal(a.Type)
		}
		if !known {
			return pkix.Name{}, fmt.Errorf("%w: subject attribute %s has no place in an issuer's name: %w", ErrRequest, a.Type, ErrName)
		}
		if a.Type.Equal(subjectAttributes[0]) {
			commonNames++
			if err := checkCommonName(value); err != nil {
				return pkix.Name{}, fmt.Errorf("%w: %w", ErrRequest, err)
			}
			if want == "" && strings.Contains(value, workloadMark) {
				return pkix.Name{}, fmt.Errorf("%w: %s is a workload's identity, not an issuer's name: %w", ErrRequest, quote(value), ErrName)
			}
			if want != "" && value != want {
				return pkix.Name{}, fmt.Errorf("%w: its common name is %s, not %s: %w", ErrRequest, quote(value), quote(want), ErrName)
			}
		}
		name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: a.Type, Value: value})
	}
	if commonNames != 1 {
		return pkix.Name{}, fmt.Errorf("%w: %d common names: %w", ErrRequest, commonNames, ErrName)
	}
	return name, nil
}

// judgeExtensions returns the extensions that are asked for in vain.
func judgeExtensions(csr *x509.CertificateRequest, identity string) (ignored []string, err error) {
	for _, name := range csr.DNSNames {
		if name != identity {
			return nil, fmt.Errorf("%w: it asks for the DNS name %s, and the issuer's is %s (another namespace or trust domain?): %w", ErrRequest, quote(name), identity, ErrName)
		}
	}
	for _, e := range csr.Extensions {
		switch {
		case e.Id.Equal(oidSubjectAltName):
			if len(csr.EmailAddresses)+len(csr.IPAddresses)+len(csr.URIs) > 0 || len(csr.DNSNames) == 0 || !bytes.Equal(e.Value, dnsSAN(csr.DNSNames)) {
				return nil, fmt.Errorf("%w: it asks for alternative names other than the DNS name %s: %w", ErrRequest, identity, ErrName)
			}
		case e.Id.Equal(oidBasicConstraints):
			var bc struct {
				IsCA       bool `asn1:"optional"`
				MaxPathLen int  `asn1:"optional,default:-1"`
			}
			if rest, err := asn1.Unmarshal(e.Value, &bc); err != nil || len(rest) > 0 {
				return nil, fmt.Errorf("%w: malformed basic constraints", ErrRequest)
			}
			if !bc.IsCA {
				return nil, fmt.Errorf("%w: it asks for a certificate that is not a CA: %w", ErrRequest, ErrNotCA)
			}
		case e.Id.Equal(oidKeyUsage):
			var usage asn1.BitString
			if rest, err := asn1.Unmarshal(e.Value, &usage); err != nil || len(rest) > 0 {
				return nil, fmt.Errorf("%w: malformed key usage", ErrRequest)
			}
			if usage.At(5) != 1 { // keyCertSign
				return nil, fmt.Errorf("%w: it asks for a key usage that does not cover signing certificates: %w", ErrRequest, ErrNotCA)
			}
		case e.Id.Equal(oidSubjectKeyID): // ours is made of the same key
		case e.Critical:
			return nil, fmt.Errorf("%w: it asks for the critical extension %s, which would not be granted", ErrRequest, e.Id)
		case e.Id.Equal(oidExtKeyUsage):
			ignored = append(ignored, "extended key usage")
		default:
			ignored = append(ignored, e.Id.String())
		}
	}
	return ignored, nil
}

// dnsSAN is the one encoding of these DNS names: comparing with it finds
// names of kinds that crypto/x509 does not list (otherName, directoryName).
func dnsSAN(names []string) []byte {
	var raw []asn1.RawValue
	for _, n := range names {
		raw = append(raw, asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2, Bytes: []byte(n)})
	}
	der, err := asn1.Marshal(raw)
	if err != nil {
		return nil
	}
	return der
}
