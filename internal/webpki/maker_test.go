package webpki_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// now is when the certificates made here are valid.
var now = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

// tlv writes one DER value; its length may be wrong for DER only if length says so.
func tlv(tag byte, contents ...[]byte) []byte {
	var body []byte
	for _, c := range contents {
		body = append(body, c...)
	}
	switch n := len(body); {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, body...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, body...)
	case n < 0x10000:
		return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, body...)
	default:
		return append([]byte{tag, 0x83, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
	}
}

func seq(contents ...[]byte) []byte { return tlv(0x30, contents...) }

func str(s string) []byte { return []byte(s) }

// commonName is a subject with one common name.
func commonName(s string) []byte {
	return seq(tlv(0x31, seq(str("\x06\x03\x55\x04\x03"), tlv(0x0c, str(s)))))
}

func utcTime(t time.Time) []byte { return tlv(0x17, str(t.UTC().Format("060102150405Z"))) }

// The extensions that webpki knows, by the last number of their OID.
const (
	extKeyUsage         = 15
	extSAN              = 17
	extBasicConstraints = 19
	extNameConstraints  = 30
	extEKU              = 37
)

func extension(id byte, critical bool, value []byte) []byte {
	crit := []byte{}
	if critical {
		crit = []byte{1, 1, 0xff}
	}
	return seq([]byte{6, 3, 0x55, 0x1d, id}, crit, tlv(4, value))
}

func caExtension(pathLen int) []byte {
	if pathLen < 0 {
		return extension(extBasicConstraints, true, seq([]byte{1, 1, 0xff}))
	}
	return extension(extBasicConstraints, true, seq([]byte{1, 1, 0xff}, tlv(2, []byte{byte(pathLen)})))
}

func sanExtension(names ...[]byte) []byte { return extension(extSAN, false, seq(names...)) }

func dnsName(s string) []byte { return tlv(0x82, str(s)) }
func uriName(s string) []byte { return tlv(0x86, str(s)) }

// permitted and excluded are a nameConstraints extension.
func permitted(names ...[]byte) []byte { return constraints(0xa0, names) }
func excluded(names ...[]byte) []byte  { return constraints(0xa1, names) }

func constraints(tag byte, names [][]byte) []byte {
	var subtrees [][]byte
	for _, n := range names {
		subtrees = append(subtrees, seq(n))
	}
	return extension(extNameConstraints, true, seq(tlv(tag, subtrees...)))
}

// A maker makes certificates with any part of its own; keys never leave memory.
type maker struct {
	t       testing.TB
	name    string
	key     *ecdsa.PrivateKey
	signer  *maker // nil: itself
	version []byte // default: version 3
	serial  []byte // default: INTEGER 1
	before  []byte // default: an hour ago
	after   []byte // default: in an hour
	spki    []byte // default: that of key
	inner   []byte // the inner AlgorithmIdentifier; default: as the outer one
	outer   []byte // the outer AlgorithmIdentifier; default: ECDSA with SHA-256
	unique  []byte // what stands before the extensions
	exts    [][]byte
	noExts  bool
	trailer []byte // what follows the extensions inside the certificate
}

func newMaker(t testing.TB, name string, signer *maker, exts ...[]byte) *maker {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return &maker{t: t, name: name, key: key, signer: signer, exts: exts}
}

func or(a, b []byte) []byte {
	if a != nil {
		return a
	}
	return b
}

func (m *maker) der() []byte {
	m.t.Helper()
	signer := m.signer
	if signer == nil {
		signer = m
	}
	spki, err := x509.MarshalPKIXPublicKey(&m.key.PublicKey)
	require.NoError(m.t, err)
	outer := or(m.outer, seq(str("\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02")))
	exts := []byte{}
	if !m.noExts {
		exts = tlv(0xa3, seq(m.exts...))
	}
	version := m.version
	if version == nil {
		version = tlv(0xa0, []byte{2, 1, 2})
	}
	tbs := seq(
		version,
		or(m.serial, []byte{2, 1, 1}),
		or(m.inner, outer),
		commonName(signer.name),
		seq(or(m.before, utcTime(now.Add(-time.Hour))), or(m.after, utcTime(now.Add(time.Hour)))),
		commonName(m.name),
		or(m.spki, spki),
		m.unique,
		exts,
		m.trailer,
	)
	hash := sha256.Sum256(tbs)
	sig, err := signer.key.Sign(rand.Reader, hash[:], crypto.SHA256)
	require.NoError(m.t, err)
	return seq(tbs, outer, tlv(3, []byte{0}, sig))
}

func (m *maker) anchor() *webpki.Anchor {
	m.t.Helper()
	a, err := webpki.ParseAnchor(m.der(), webpki.Linkerd220)
	require.NoError(m.t, err)
	return a
}

// kind is the Kind of an error, or "" for none.
func kind(err error) webpki.Kind {
	if err == nil {
		return ""
	}
	return err.(*webpki.Error).Kind
}
