package issuer

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Defaults of Linkerd's own install; see IdentityName.
const (
	DefaultTrustDomain = "cluster.local"
	DefaultNamespace   = "linkerd"
)

// maxCommonName is ub-common-name of RFC 5280, appendix A.1, in characters.
const maxCommonName = 64

// IdentityName returns identity.<namespace>.<trust domain>, the name Linkerd
// gives its identity issuer (pkg/issuercerts and charts of linkerd2); releases
// up to 2.8 demand it as DNS name in the certificate. Empty arguments mean
// DefaultNamespace and DefaultTrustDomain. Anything that is not a lower-case
// DNS name is ErrName.
func IdentityName(namespace, trustDomain string) (string, error) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	if trustDomain == "" {
		trustDomain = DefaultTrustDomain
	}
	if !isDNSLabel(namespace) {
		return "", fmt.Errorf("namespace %s is not a DNS label: %w", quote(namespace), ErrName)
	}
	name := "identity." + namespace + "." + trustDomain
	for label := range strings.SplitSeq(trustDomain, ".") {
		if !isDNSLabel(label) || len(name) > 253 {
			return "", fmt.Errorf("trust domain %s is not a DNS name in lower case: %w", quote(trustDomain), ErrName)
		}
	}
	return name, nil
}

func isDNSLabel(s string) bool {
	if s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// KeyID returns the 8 hex digits that make subjects unique: the first 4 bytes
// of the subject key identifier that certificates made here carry, so that
// `openssl x509 -text` shows them too.
func KeyID(pub any) (string, error) {
	ski, err := subjectKeyID(pub)
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(ski[:4]), nil
}

// subjectKeyID is method 1 of RFC 7093, section 2. It is computed here because
// what crypto/x509 fills in depends on the GODEBUG setting x509sha256skid.
func subjectKeyID(pub any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("%T: %w", pub, ErrUnsupportedKey)
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &spki); err != nil {
		return nil, fmt.Errorf("%T: %w", pub, ErrUnsupportedKey)
	}
	return sha256Sum(spki.Key.Bytes)[:20], nil
}

func sha256Sum(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

func checkCommonName(cn string) error {
	switch {
	case cn == "":
		return fmt.Errorf("empty common name: %w", ErrName)
	case !utf8.ValidString(cn) || strings.IndexFunc(cn, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0:
		return fmt.Errorf("common name %s has characters that do not print: %w", quote(cn), ErrName)
	case strings.TrimSpace(cn) != cn:
		return fmt.Errorf("common name %s begins or ends with a space: %w", quote(cn), ErrName)
	case utf8.RuneCountInString(cn) > maxCommonName:
		return fmt.Errorf("common name %s has %d characters, more than the %d that certificates allow: %w",
			quote(cn), utf8.RuneCountInString(cn), maxCommonName, ErrName)
	}
	return nil
}

// rootSubject is CN="<name> <key id>": the id must be in the common name, for
// many tools show nothing else and anchors stand side by side in bundles.
func rootSubject(cn string, exact bool, pub any) (pkix.Name, error) {
	if cn == "" {
		cn = DefaultRootName
	}
	if !exact {
		id, err := KeyID(pub)
		if err != nil {
			return pkix.Name{}, err
		}
		if cn != id && !strings.HasSuffix(cn, " "+id) {
			if err := checkCommonName(cn); err != nil {
				return pkix.Name{}, err
			}
			cn += " " + id
		}
	}
	return pkix.Name{CommonName: cn}, checkCommonName(cn)
}

// issuerSubject is CN=<name>, serialNumber=<key id>: the common name is the one
// Linkerd's docs lead people to expect, the whole subject is unique.
func issuerSubject(cn string, exact bool, pub any) (pkix.Name, error) {
	if err := checkCommonName(cn); err != nil {
		return pkix.Name{}, err
	}
	if exact {
		return pkix.Name{CommonName: cn}, nil
	}
	id, err := KeyID(pub)
	return pkix.Name{CommonName: cn, SerialNumber: id}, err
}

// sameName is stricter than the verifiers of Linkerd, which compare bytes:
// OpenSSL takes names that differ in string type, case or spacing as one.
func sameName(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y pkix.RDNSequence
	if _, err := asn1.Unmarshal(a, &x); err != nil {
		return false
	}
	if _, err := asn1.Unmarshal(b, &y); err != nil || len(x) != len(y) {
		return false
	}
	for i := range x {
		if len(x[i]) != len(y[i]) {
			return false
		}
		for j := range x[i] {
			if !x[i][j].Type.Equal(y[i][j].Type) || fold(x[i][j].Value) != fold(y[i][j].Value) {
				return false
			}
		}
	}
	return true
}

func fold(value any) string {
	return strings.Join(strings.Fields(strings.ToLower(fmt.Sprint(value))), " ")
}
