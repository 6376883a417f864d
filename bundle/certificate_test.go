package bundle_test

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/binary"
	"encoding/hex"
	"math/big"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// The vectors hold certificates that Go refuses and proxies trust. Each is
// still a certificate here, with a name to find it by.
func TestACertificateThatGoRefusesIsStillRead(t *testing.T) {
	for id, want := range map[string]struct{ subject, because, key string }{
		"certificates/negative-serial-only":   {"root.a.linkerd.cluster.local", "negative serial number", "ECDSA P-256"},
		"certificates/secp256k1-beside-good":  {"", "unsupported elliptic curve", "unknown 1.2.840.10045.2.1"},
		"certificates/printable-underscore":   {"_", "invalid RDNSequence", "ECDSA P-256"},
		"certificates/negative-serial-middle": {"", "negative serial number", "ECDSA P-256"},
	} {
		t.Run(id, func(t *testing.T) {
			chain, err := bundle.ReadChain(vectorText(t, id))
			require.NoError(t, err)
			refused := 0
			for _, c := range chain {
				if _, err := c.X509(); err != nil {
					refused++
					require.ErrorContains(t, err, want.because)
					require.False(t, strings.HasPrefix(c.Subject(), "#"), "a name for people: %s", c.Subject())
					if want.subject == "_" {
						require.Contains(t, c.Subject(), "_")
					}
					require.Equal(t, want.key, c.Key())
					start, end := c.Validity()
					require.True(t, start.Before(end), "%s %s", start, end)
					require.False(t, c.IsCA(), "Go cannot say so")
					require.NotNil(t, c.Serial())
					if strings.Contains(want.because, "negative") {
						require.Negative(t, c.Serial().Sign())
					}
					require.NotEmpty(t, c.RawSubject())
					require.Equal(t, c.RawSubject(), c.RawIssuer(), "it is a root")
					require.Equal(t, independentAnchorID(c.RawSubject(), spkiOf(t, c.Raw()), nil), c.AnchorID())
				}
			}
			require.Equal(t, 1, refused)
		})
	}
}

// spkiOf digs the key out with nothing but encoding/asn1.
func spkiOf(t *testing.T, der []byte) []byte {
	var cert struct {
		TBS struct {
			Version                                            int `asn1:"optional,explicit,default:0,tag:0"`
			Serial                                             asn1.RawValue
			Algorithm, Issuer, Validity, Subject, SPKI, Extras asn1.RawValue
		}
		Rest1, Rest2 asn1.RawValue
	}
	_, err := asn1.Unmarshal(der, &cert)
	require.NoError(t, err)
	return cert.TBS.SPKI.FullBytes
}

// independentAnchorID follows the words of AnchorID's documentation.
func independentAnchorID(parts ...[]byte) (id bundle.AnchorID) {
	h := sha256.New()
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(p)))
		h.Write(p)
	}
	copy(id[:], h.Sum(nil))
	return id
}

func TestAnchorIDIsSubjectKeyAndNameConstraintsOnly(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	id := wrap(t, root).AnchorID()
	require.Equal(t, independentAnchorID(root.RawSubject, root.RawSubjectPublicKeyInfo, nil), id)

	same := map[string]*testca.Cert{
		"re-issued with other dates":  root.Again(testca.Until(30 * year)),
		"re-issued with a path limit": root.Again(testca.PathLen(0)),
		"cross-signed":                root.CrossSignedBy(lab.Root("old")),
		"not a CA":                    root.Again(testca.NotCA()),
		"with an unknown extension":   root.Again(testca.Extension(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}})),
	}
	for name, twin := range same {
		require.Equal(t, id, wrap(t, twin).AnchorID(), name)
		require.NotEqual(t, wrap(t, root).Fingerprint(), wrap(t, twin).Fingerprint(), name)
	}

	constrained := root.Again(testca.Permit("cluster.local"))
	var value []byte
	for _, e := range constrained.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 30}) {
			value = e.Value
		}
	}
	require.NotEmpty(t, value)
	require.Equal(t, independentAnchorID(root.RawSubject, root.RawSubjectPublicKeyInfo, value), wrap(t, constrained).AnchorID())
	different := map[string]*testca.Cert{
		"name constraints": constrained,
		"another key":      lab.Root("root"),
		"another subject":  lab.Root("other", testca.WithKey(root.Key)),
		"the name as another type of string": lab.Root("", testca.WithKey(root.Key), testca.Subject(mustMarshal(t, pkix.RDNSequence{{
			{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte("root")}},
		}}))),
	}
	for name, c := range different {
		require.NotEqual(t, id, wrap(t, c).AnchorID(), name)
	}
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	der, err := asn1.Marshal(v)
	require.NoError(t, err)
	return der
}

func TestWhatACertificateSaysOfItself(t *testing.T) {
	lab := newLab()
	root := lab.Root("root", testca.PathLen(1))
	issuer := root.Issuer("issuer")
	leaf := issuer.Leaf("web.emojivoto")

	c := wrap(t, root)
	require.Equal(t, "root", c.Subject())
	require.Equal(t, root.SerialNumber, c.Serial())
	start, end := c.Validity()
	require.True(t, start.Equal(root.NotBefore) && end.Equal(root.NotAfter))
	n, ok := c.MaxPathLen()
	require.True(t, ok)
	require.Equal(t, 1, n)
	require.True(t, c.IsCA())
	require.True(t, c.SelfSigned())
	sum := sha256.Sum256(root.Raw)
	require.Equal(t, hex.EncodeToString(sum[:]), c.Fingerprint().String())
	require.Equal(t, "root ("+hex.EncodeToString(sum[:4])+")", c.String())

	i := wrap(t, issuer)
	n, ok = i.MaxPathLen()
	require.True(t, ok, "a limit of 0 is a limit")
	require.Zero(t, n)
	require.False(t, i.SelfSigned())
	require.Equal(t, "root", i.Issuer())

	_, ok = wrap(t, lab.Root("free")).MaxPathLen()
	require.False(t, ok)
	require.False(t, wrap(t, leaf).IsCA())
	require.False(t, wrap(t, lab.Root("impostor", testca.Subject(root.RawSubject)).CrossSignedBy(root)).SelfSigned(), "same name, another key")
}

func TestKeysAreNamedAsTheContractSays(t *testing.T) {
	lab := newLab()
	for kind, want := range map[string]string{
		"P-224": "ECDSA P-224", "P-256": "ECDSA P-256", "P-384": "ECDSA P-384", "P-521": "ECDSA P-521",
		"Ed25519": "Ed25519", "RSA 2048": "RSA 2048",
	} {
		require.Equal(t, want, wrap(t, lab.Root(kind, testca.Kind(kind))).Key())
	}
}

func TestACertificateCannotBeChangedThroughWhatItReturns(t *testing.T) {
	c := wrap(t, newLab().Root("root"))
	before := c.Fingerprint()
	raw := c.Raw()
	raw[0] ^= 0xff
	c.Serial().Set(big.NewInt(-7))
	again, err := bundle.ParseCertificate(c.Raw())
	require.NoError(t, err)
	require.Equal(t, before, again.Fingerprint())
	require.Positive(t, c.Serial().Sign())
}

// What a certificate says is shown on terminals and in logs.
func TestHostileSubjectsCannotSteerATerminal(t *testing.T) {
	lab := newLab()
	for name, cn := range map[string]string{
		"escape sequence":        "\x1b[2J\x1b]0;owned\x07root",
		"new lines":              "root\r\nok: all is well",
		"C1 controls":            "root\u009b31m",
		"right-to-left override": "root\u202egnp.exe",
		"isolates":               "\u2066root\u2069",
		"zero width":             "ro\u200bot",
		"line separator":         "root\u2028next",
		"a NUL":                  "root\x00.evil",
	} {
		t.Run(name, func(t *testing.T) {
			raw := mustMarshal(t, pkix.RDNSequence{{{Type: asn1.ObjectIdentifier{2, 5, 4, 3},
				Value: asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(cn)}}}})
			c := wrap(t, lab.Root("", testca.Subject(raw)))
			findings := bundle.LintBundle(bundle.New(c), nil, bundle.LintOptions{Now: now})
			texts := []string{c.Subject(), c.Issuer(), c.String()}
			for _, f := range findings {
				texts = append(texts, f.Message, f.Subject)
			}
			v := bundle.Verify(bundle.Query{Issuer: []*bundle.Certificate{c}, Anchors: wraps(t, lab.Root("x")), At: now, Rules: bundle.Proxy})
			texts = append(texts, v.Reason)
			for _, text := range texts {
				for _, r := range text {
					require.True(t, unicode.IsGraphic(r), "%q holds %U", text, r)
				}
			}
		})
	}
}

func TestAVeryLongSubjectIsShortInMessages(t *testing.T) {
	c := wrap(t, newLab().Root(strings.Repeat("ü", 100_000)))
	require.Len(t, []rune(c.Subject()), 100_000)
	require.Less(t, len(c.String()), 200)
}

func TestNamesOfSeveralParts(t *testing.T) {
	lab := newLab()
	c := wrap(t, lab.Root("", testca.Template(func(x *x509.Certificate) {
		x.Subject = pkix.Name{CommonName: "root", Organization: []string{"Ångström, Inc."}}
	})))
	require.Equal(t, `root [O=Ångström\, Inc.]`, c.Subject())
	empty := wrap(t, lab.Root(""))
	require.Equal(t, "(empty subject)", empty.Subject())
}

func TestParseFingerprintTakesWhatToolsPrint(t *testing.T) {
	f := wrap(t, newLab().Root("root")).Fingerprint()
	colons := strings.ToUpper(f.String())
	for i := 62; i > 0; i -= 2 {
		colons = colons[:i] + ":" + colons[i:]
	}
	for _, s := range []string{f.String(), strings.ToUpper(f.String()), colons} {
		got, err := bundle.ParseFingerprint(s)
		require.NoError(t, err)
		require.Equal(t, f, got)
	}
	for _, s := range []string{"", "abcd", f.String() + "00", strings.Repeat("zz", 32)} {
		_, err := bundle.ParseFingerprint(s)
		require.Error(t, err, s)
	}
}

func TestWhatIsNoCertificateIsAnError(t *testing.T) {
	root := newLab().Root("root")
	for name, der := range map[string][]byte{
		"nothing":      nil,
		"junk":         []byte("junk"),
		"half":         root.Raw[:len(root.Raw)/2],
		"a key":        root.RawSubjectPublicKeyInfo,
		"an empty one": {0x30, 0x00},
	} {
		_, err := bundle.ParseCertificate(der)
		require.ErrorContains(t, err, "not a certificate", name)
	}
}
