package issuer_test

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func TestRootByDefault(t *testing.T) {
	root, key := newRoot(t, issuer.RootOptions{})
	id, err := issuer.KeyID(key.Public())
	require.NoError(t, err)

	require.Equal(t, "CN=root.linkerd.cluster.local "+id, root.Subject.String())
	require.Equal(t, id, hex.EncodeToString(root.SubjectKeyId)[:8], "the id can be found in any dump of the certificate")
	require.Equal(t, root.RawSubject, root.RawIssuer)
	require.Equal(t, now.Add(-time.Hour), root.NotBefore)
	require.Equal(t, now.Add(87600*time.Hour), root.NotAfter)
	require.Equal(t, x509.ECDSAWithSHA256, root.SignatureAlgorithm)
	require.True(t, root.IsCA)
	require.Equal(t, -1, root.MaxPathLen)
	require.Equal(t, "true 30030101ff", extensionOf(root, extBC))
	require.Equal(t, "true 03020106", extensionOf(root, extKU))
	require.Len(t, root.Extensions, 3, "and a subject key identifier, nothing else")
	require.NoError(t, root.CheckSignatureFrom(root))
	require.Positive(t, root.SerialNumber.Sign())
	require.Greater(t, root.SerialNumber.BitLen(), 64)
}

func TestRootsDoNotShareASubject(t *testing.T) {
	a, _ := newRoot(t, issuer.RootOptions{CommonName: "mesh"})
	b, _ := newRoot(t, issuer.RootOptions{CommonName: "mesh"})
	require.NotEqual(t, a.RawSubject, b.RawSubject)
	require.NotEqual(t, a.SerialNumber, b.SerialNumber)

	exact, _ := newRoot(t, issuer.RootOptions{CommonName: "mesh", ExactName: true})
	require.Equal(t, "mesh", exact.Subject.CommonName)
}

func TestRootKeepsAnIDThatIsThere(t *testing.T) {
	key := newKey(t)
	id, err := issuer.KeyID(key.Public())
	require.NoError(t, err)
	root, err := issuer.Root(key, now, issuer.RootOptions{CommonName: "mesh " + id})
	require.NoError(t, err)
	require.Equal(t, "mesh "+id, root.Subject.CommonName)
}

func TestRootRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		opts issuer.RootOptions
		kind string
		at   time.Time
		want error
	}{
		"path length 1":         {opts: issuer.RootOptions{MaxPathLen: 1}, want: issuer.ErrPathLen},
		"path length below 0":   {opts: issuer.RootOptions{MaxPathLen: -1}, want: issuer.ErrPathLen},
		"P-384":                 {kind: "P-384", want: issuer.ErrUnsupportedKey},
		"RSA":                   {kind: "RSA 2048", want: issuer.ErrUnsupportedKey},
		"Ed25519":               {kind: "Ed25519", want: issuer.ErrUnsupportedKey},
		"name too long":         {opts: issuer.RootOptions{CommonName: strings.Repeat("x", 56)}, want: issuer.ErrName},
		"exact name too long":   {opts: issuer.RootOptions{CommonName: strings.Repeat("x", 65), ExactName: true}, want: issuer.ErrName},
		"line break":            {opts: issuer.RootOptions{CommonName: "a\nb"}, want: issuer.ErrName},
		"not UTF-8":             {opts: issuer.RootOptions{CommonName: "a\xff"}, want: issuer.ErrName},
		"space around the name": {opts: issuer.RootOptions{CommonName: " a"}, want: issuer.ErrName},
		"negative validity":     {opts: issuer.RootOptions{Validity: -1}, want: issuer.ErrValidity},
		"no moment":             {at: time.Time{}.Add(-1), want: issuer.ErrValidity},
	} {
		t.Run(name, func(t *testing.T) {
			key := newKey(t)
			if c.kind != "" {
				key = testca.Key(c.kind)
			}
			at := now
			if !c.at.IsZero() {
				at = time.Time{}
			}
			_, err := issuer.Root(key, at, c.opts)
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := issuer.Root(nil, now, issuer.RootOptions{})
	require.ErrorIs(t, err, issuer.ErrUnsupportedKey)
}

func TestRootOptions(t *testing.T) {
	root, _ := newRoot(t, issuer.RootOptions{Validity: time.Hour, Backdate: -1, MaxPathLen: 2, CommonName: strings.Repeat("é", 55)})
	require.Equal(t, now, root.NotBefore)
	require.Equal(t, now.Add(time.Hour), root.NotAfter)
	require.Equal(t, 2, root.MaxPathLen)
}

func TestSerialComesFromTheGivenSource(t *testing.T) {
	root, _ := newRoot(t, issuer.RootOptions{Rand: bytes.NewReader(bytes.Repeat([]byte{0xff}, 4096))})
	require.Equal(t, strings.Repeat("ff", 16), root.SerialNumber.Text(16))

	empty := errors.New("no entropy")
	_, err := issuer.Root(newKey(t), now, issuer.RootOptions{Rand: iotest.ErrReader(empty)})
	require.ErrorIs(t, err, empty)

	zero, _ := newRoot(t, issuer.RootOptions{Rand: bytes.NewReader(make([]byte, 4096))})
	require.Equal(t, 1, zero.SerialNumber.Sign(), "never zero")
}

func TestReissueLeavesTheSameAnchor(t *testing.T) {
	lab := testca.New(now)
	for name, old := range map[string]*testca.Cert{
		"plain":                lab.Root("root"),
		"expired":              lab.Root("root", testca.From(-2*year), testca.Until(-year)),
		"RSA 2048":             lab.Root("root", testca.Kind("RSA 2048")),
		"P-384":                lab.Root("root", testca.Kind("P-384")),
		"Ed25519":              lab.Root("root", testca.Kind("Ed25519")),
		"name constraints":     lab.Root("root", testca.Permit("cluster.local")),
		"made by linkerd":      lab.Root("identity.linkerd.cluster.local", testca.EKU(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)),
		"odd key identifier":   lab.Root("root", testca.Template(func(c *x509.Certificate) { c.SubjectKeyId = []byte("mine") })),
		"unknown extension":    lab.Root("root", testca.Extension(pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}})),
		"subject in UTF8":      lab.Root("", testca.Subject(utf8Name("root.linkerd.cluster.local"))),
		"an issuer as anchor":  lab.Root("above").Sub("below"),
		"step's, path length1": lab.Root("root", testca.PathLen(1)),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := issuer.Reissue(old.Certificate, old.Key, now, issuer.ReissueOptions{})
			require.NoError(t, err)
			c := got.Certificate
			require.Equal(t, old.RawSubject, c.RawSubject)
			require.Equal(t, old.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
			for _, e := range old.Extensions {
				if e.Id.String() != extAKI {
					require.Contains(t, c.Extensions, e)
				}
			}
			require.Empty(t, extensionOf(c, extAKI))
			require.Equal(t, now.Add(-time.Hour), c.NotBefore)
			require.Equal(t, now.Add(87600*time.Hour), c.NotAfter)
			require.NotEqual(t, old.SerialNumber, c.SerialNumber)
			require.NoError(t, c.CheckSignatureFrom(c))

			if len(c.PermittedDNSDomains) == 0 {
				leaf := old.Issuer("identity").Leaf("web.emojivoto")
				require.NoError(t, accepts(leaf.Certificate, leaf.Chain()[1:], c, x509.ExtKeyUsageServerAuth), "what the old root signed verifies under the new one")
			}
		})
	}
}

func utf8Name(cn string) []byte {
	value := append([]byte{0x0c, byte(len(cn))}, cn...)
	attr := append([]byte{0x30, byte(5 + len(value)), 6, 3, 0x55, 4, 3}, value...)
	set := append([]byte{0x31, byte(len(attr))}, attr...)
	return append([]byte{0x30, byte(len(set))}, set...)
}

func TestReissueAuthorityKeyID(t *testing.T) {
	lab := testca.New(now)
	ski := []byte{1, 2, 3, 4}
	withAKI := func(value ...byte) *testca.Cert {
		return lab.Root("root",
			testca.Template(func(c *x509.Certificate) { c.SubjectKeyId = ski }),
			testca.Extension(pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 35}, Value: value}))
	}
	own := withAKI(0x30, 6, 0x80, 4, 1, 2, 3, 4)
	got, err := issuer.Reissue(own.Certificate, own.Key, now, issuer.ReissueOptions{})
	require.NoError(t, err)
	require.Equal(t, extensionOf(own.Certificate, extAKI), extensionOf(got.Certificate, extAKI))

	withSerial := withAKI(0x30, 9, 0x80, 4, 1, 2, 3, 4, 0x82, 1, 1)
	got, err = issuer.Reissue(withSerial.Certificate, withSerial.Key, now, issuer.ReissueOptions{})
	require.NoError(t, err)
	require.Empty(t, extensionOf(got.Certificate, extAKI), "it would name the old serial number")
}

func TestReissueRefusalsAndWarnings(t *testing.T) {
	lab := testca.New(now)
	root := lab.Root("root")
	_, err := issuer.Reissue(root.Certificate, newKey(t), now, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrKeyMismatch)
	require.ErrorContains(t, err, `"root"`)
	_, err = issuer.Reissue(root.Certificate, nil, now, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrKeyMismatch)
	leaf := root.Leaf("a.b")
	_, err = issuer.Reissue(leaf.Certificate, leaf.Key, now, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrNotCA)
	_, err = issuer.Reissue(nil, nil, now, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrNotCA)
	noSign := lab.Root("root", testca.Usage(x509.KeyUsageCRLSign))
	_, err = issuer.Reissue(noSign.Certificate, noSign.Key, now, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrNotCA)
	_, err = issuer.Reissue(root.Certificate, root.Key, time.Time{}, issuer.ReissueOptions{})
	require.ErrorIs(t, err, issuer.ErrValidity)

	short := lab.Root("root", testca.PathLen(1), testca.Kind("P-521"))
	got, err := issuer.Reissue(short.Certificate, short.Key, now, issuer.ReissueOptions{Validity: time.Hour})
	require.NoError(t, err)
	require.Equal(t, "unusual-key path-length", codes(got.Warnings))
}

// Whatever was reissued can be reissued, and cross-signed, without the anchor changing.
func TestReissueAgainAndAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lab := testca.New(now)
		opts := []testca.Option{testca.PathLen(rapid.SampledFrom([]int{-1, 1, 2, 7}).Draw(t, "path length"))}
		if d := rapid.SampledFrom([]string{"", "cluster.local"}).Draw(t, "permitted"); d != "" {
			opts = append(opts, testca.Permit(d))
		}
		root := lab.Root(rapid.StringMatching(`[A-Za-z0-9 .é*@_-]{1,40}`).Draw(t, "name"), opts...)
		by := lab.Root("by")
		c := root.Certificate
		for range rapid.IntRange(1, 3).Draw(t, "times") {
			got, err := issuer.Reissue(c, root.Key, now, issuer.ReissueOptions{Validity: time.Duration(rapid.Int64Range(1, int64(100*year/time.Second)).Draw(t, "seconds")) * time.Second})
			require.NoError(t, err)
			c = got.Certificate
			x, err := issuer.CrossSign(c, by.Certificate, by.Key, now, issuer.CrossSignOptions{})
			require.NoError(t, err)
			for _, c := range []*x509.Certificate{c, x.Certificate} {
				require.Equal(t, root.RawSubject, c.RawSubject)
				require.Equal(t, root.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
				require.Equal(t, extensionOf(root.Certificate, extNC), extensionOf(c, extNC))
				require.Equal(t, extensionOf(root.Certificate, extSKI), extensionOf(c, extSKI))
				require.Equal(t, extensionOf(root.Certificate, extBC), extensionOf(c, extBC))
			}
		}
	})
}

func TestReissueSaysWhereItMakesARoot(t *testing.T) {
	lab := testca.New(now)
	root := lab.Root("root")
	x := root.CrossSignedBy(lab.Root("old"))
	signed, err := issuer.Reissue(x.Certificate, root.Key, now, issuer.ReissueOptions{})
	require.NoError(t, err)
	require.Equal(t, "not-a-root", codes(signed.Warnings))
	require.Contains(t, signed.Warnings[0].Message, `signed by "CN=old"`)
	require.NoError(t, signed.Certificate.CheckSignatureFrom(signed.Certificate))
}
