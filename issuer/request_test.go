package issuer_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func request(t testing.TB, key crypto.Signer, template x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &template, key)
	require.NoError(t, err)
	return der
}

// The two halves together make what Intermediate makes.
func TestRequestAndSign(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	key := newKey(t)
	csr, err := issuer.Request(key, issuer.RequestOptions{})
	require.NoError(t, err)
	require.Contains(t, string(csr), "-----BEGIN CERTIFICATE REQUEST-----\n")

	got, err := issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	direct, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Equal(t, direct.Certificate.RawSubject, got.Certificate.RawSubject)
	require.Equal(t, direct.Certificate.Extensions, got.Certificate.Extensions)
	require.Equal(t, direct.Certificate.NotAfter, got.Certificate.NotAfter)
	_, err = issuer.CheckPair([]*x509.Certificate{got.Certificate}, key, []*x509.Certificate{root}, now, issuer.CheckOptions{})
	require.NoError(t, err)
}

func TestRequestRefusals(t *testing.T) {
	_, err := issuer.Request(testca.Key("RSA 2048"), issuer.RequestOptions{})
	require.ErrorIs(t, err, issuer.ErrUnsupportedKey)
	_, err = issuer.Request(nil, issuer.RequestOptions{})
	require.ErrorIs(t, err, issuer.ErrUnsupportedKey)
	_, err = issuer.Request(newKey(t), issuer.RequestOptions{TrustDomain: "a..b"})
	require.ErrorIs(t, err, issuer.ErrName)
}

// What `openssl req -new` and step make: a common name, perhaps an organization.
func TestSignPlainRequests(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	for name, c := range map[string]x509.CertificateRequest{
		"common name only":   {Subject: pkix.Name{CommonName: "issuer"}},
		"organization":       {Subject: pkix.Name{CommonName: "issuer", Organization: []string{"Müller & Söhne"}, Country: []string{"DE"}}},
		"UTF-8 encoding":     {RawSubject: utf8Name("issuer")},
		"DNS name":           {Subject: pkix.Name{CommonName: "issuer"}, DNSNames: []string{identity}},
		"ECDSA with SHA-512": {Subject: pkix.Name{CommonName: "issuer"}, SignatureAlgorithm: x509.ECDSAWithSHA512},
	} {
		t.Run(name, func(t *testing.T) {
			csr := request(t, newKey(t), c)
			for _, form := range [][]byte{csr, pem.EncodeToMemory(&pem.Block{Type: "NEW CERTIFICATE REQUEST", Bytes: csr})} {
				got, err := issuer.SignRequest(form, root, rootKey, now, issuer.IntermediateOptions{})
				require.NoError(t, err)
				require.Equal(t, "issuer", got.Certificate.Subject.CommonName)
				require.Contains(t, codes(got.Warnings), "unusual-name")
				require.Equal(t, []string{identity}, got.Certificate.DNSNames)
				require.True(t, got.Certificate.MaxPathLenZero)
			}
		})
	}
}

func TestHostileRequests(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	key := newKey(t)
	cn := pkix.Name{CommonName: "issuer"}
	ext := func(critical bool, value []byte, oid ...int) []pkix.Extension {
		return []pkix.Extension{{Id: oid, Critical: critical, Value: value}}
	}
	otherName := []byte{0x30, 0x10, 0xa0, 0x0e, 0x06, 3, 0x2a, 3, 4, 0xa0, 7, 0x0c, 5, 'h', 'e', 'l', 'l', 'o'}
	good := request(t, key, x509.CertificateRequest{Subject: cn})
	tampered := bytes.Replace(good, []byte("issuer"), []byte("ISSUER"), 1)
	long := pkix.Name{CommonName: "issuer"}
	for range 11 {
		long.ExtraNames = append(long.ExtraNames, pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "u"})
	}
	many := pkix.Name{CommonName: "issuer", ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "b"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "c"}}}

	for name, c := range map[string]struct {
		csr  []byte
		want error
	}{
		"empty":               {csr: nil},
		"noise":               {csr: []byte("hello")},
		"too large":           {csr: append(bytes.Repeat([]byte("x"), 16<<10), good...)},
		"trailing bytes":      {csr: append(bytes.Clone(good), 0)},
		"tampered":            {csr: tampered},
		"truncated":           {csr: good[:len(good)-1]},
		"a certificate":       {csr: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw})},
		"broken PEM":          {csr: []byte("-----BEGIN CERTIFICATE REQUEST-----\nAA")},
		"two PEM blocks":      {csr: bytes.Repeat(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: good}), 2)},
		"RSA":                 {csr: request(t, testca.Key("RSA 2048"), x509.CertificateRequest{Subject: cn}), want: issuer.ErrUnsupportedKey},
		"P-384":               {csr: request(t, testca.Key("P-384"), x509.CertificateRequest{Subject: cn}), want: issuer.ErrUnsupportedKey},
		"Ed25519":             {csr: request(t, testca.Key("Ed25519"), x509.CertificateRequest{Subject: cn}), want: issuer.ErrUnsupportedKey},
		"the root's key":      {csr: request(t, rootKey, x509.CertificateRequest{Subject: cn}), want: issuer.ErrSameKey},
		"the root's subject":  {csr: request(t, key, x509.CertificateRequest{RawSubject: root.RawSubject}), want: issuer.ErrSameSubject},
		"a workload's name":   {csr: request(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "web.emojivoto.serviceaccount.identity.linkerd.cluster.local"}}), want: issuer.ErrName},
		"no common name":      {csr: request(t, key, x509.CertificateRequest{Subject: pkix.Name{Organization: []string{"o"}}}), want: issuer.ErrName},
		"two common names":    {csr: request(t, key, x509.CertificateRequest{Subject: many}), want: issuer.ErrName},
		"control characters":  {csr: request(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "a\x1b[31mb"}}), want: issuer.ErrName},
		"long name":           {csr: request(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: strings.Repeat("x", 65)}}), want: issuer.ErrName},
		"many attributes":     {csr: request(t, key, x509.CertificateRequest{Subject: long}), want: issuer.ErrName},
		"strange attribute":   {csr: request(t, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "a", ExtraNames: []pkix.AttributeTypeAndValue{{Type: asn1.ObjectIdentifier{1, 2, 3}, Value: "v"}}}}), want: issuer.ErrName},
		"another DNS name":    {csr: request(t, key, x509.CertificateRequest{Subject: cn, DNSNames: []string{identity, "kubernetes.default.svc"}}), want: issuer.ErrName},
		"wildcard":            {csr: request(t, key, x509.CertificateRequest{Subject: cn, DNSNames: []string{"*"}}), want: issuer.ErrName},
		"e-mail":              {csr: request(t, key, x509.CertificateRequest{Subject: cn, EmailAddresses: []string{"a@b"}}), want: issuer.ErrName},
		"IP":                  {csr: request(t, key, x509.CertificateRequest{Subject: cn, IPAddresses: []net.IP{{127, 0, 0, 1}}}), want: issuer.ErrName},
		"URI":                 {csr: request(t, key, x509.CertificateRequest{Subject: cn, URIs: []*url.URL{{Scheme: "spiffe", Host: "a"}}}), want: issuer.ErrName},
		"otherName":           {csr: request(t, key, x509.CertificateRequest{Subject: cn, ExtraExtensions: ext(false, otherName, 2, 5, 29, 17)}), want: issuer.ErrName},
		"CA:FALSE":            {csr: request(t, key, x509.CertificateRequest{Subject: cn, ExtraExtensions: ext(true, []byte{0x30, 0}, 2, 5, 29, 19)}), want: issuer.ErrNotCA},
		"usage of a leaf":     {csr: request(t, key, x509.CertificateRequest{Subject: cn, ExtraExtensions: ext(true, []byte{3, 2, 5, 0xa0}, 2, 5, 29, 15)}), want: issuer.ErrNotCA},
		"malformed constrain": {csr: request(t, key, x509.CertificateRequest{Subject: cn, ExtraExtensions: ext(true, []byte{0x30}, 2, 5, 29, 19)})},
		"critical extension":  {csr: request(t, key, x509.CertificateRequest{Subject: cn, ExtraExtensions: ext(true, []byte{5, 0}, 1, 2, 3)})},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := issuer.SignRequest(c.csr, root, rootKey, now, issuer.IntermediateOptions{})
			require.Error(t, err)
			require.Nil(t, got)
			if c.want == nil {
				c.want = issuer.ErrRequest
			}
			require.ErrorIs(t, err, c.want)
			require.NotContains(t, err.Error(), "\x1b", "nothing of it reaches a terminal")
		})
	}
}

func TestExtensionsAskedForInVain(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	csr := request(t, newKey(t), x509.CertificateRequest{Subject: pkix.Name{CommonName: "issuer"}, ExtraExtensions: []pkix.Extension{
		{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Value: []byte{0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1}},
		{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: []byte{5, 0}},
		{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 6, 1, 1, 0xff, 2, 1, 9}}, // pathlen 9
	}})
	got, err := issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Equal(t, "unusual-name ignored-extensions", codes(got.Warnings))
	require.Contains(t, got.Warnings[1].Message, "extended key usage, 1.2.3")
	require.Empty(t, extensionOf(got.Certificate, extEKU))
	require.Empty(t, extensionOf(got.Certificate, "1.2.3"))
	require.True(t, got.Certificate.MaxPathLenZero)
}

func TestSignRequestOfAnExpectedName(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	csr, err := issuer.Request(newKey(t), issuer.RequestOptions{TrustDomain: "east.example.org", CommonName: "east"})
	require.NoError(t, err)
	_, err = issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{})
	require.ErrorIs(t, err, issuer.ErrName)
	_, err = issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{TrustDomain: "east.example.org", CommonName: "west"})
	require.ErrorIs(t, err, issuer.ErrName)
	got, err := issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{TrustDomain: "east.example.org", CommonName: "east"})
	require.NoError(t, err)
	require.Equal(t, []string{"identity.linkerd.east.example.org"}, got.Certificate.DNSNames)
}

// Never panics, and whatever it signs has a good signature of a P-256 key and
// comes out as an identity issuer and nothing more.
func FuzzSignRequest(f *testing.F) {
	root, rootKey := newRoot(f, issuer.RootOptions{})
	key := newKey(f)
	good, err := issuer.Request(key, issuer.RequestOptions{})
	require.NoError(f, err)
	block, _ := pem.Decode(good)
	f.Add(good)
	f.Add(block.Bytes)
	f.Add(block.Bytes[:len(block.Bytes)-3])
	f.Add(bytes.Replace(block.Bytes, []byte("cluster"), []byte("clusteR"), 1))
	f.Add(request(f, key, x509.CertificateRequest{Subject: pkix.Name{CommonName: "x", Organization: []string{"o"}}, DNSNames: []string{"a"}, EmailAddresses: []string{"b"}}))
	f.Fuzz(func(t *testing.T, csr []byte) {
		got, err := issuer.SignRequest(csr, root, rootKey, now, issuer.IntermediateOptions{})
		if err != nil {
			return
		}
		der := csr
		if block, _ := pem.Decode(csr); block != nil {
			der = block.Bytes
		}
		parsed, err := x509.ParseCertificateRequest(der)
		require.NoError(t, err)
		require.NoError(t, parsed.CheckSignature(), "signed a request whose signature is bad")
		c := got.Certificate
		require.Equal(t, parsed.RawSubjectPublicKeyInfo, c.RawSubjectPublicKeyInfo)
		require.Equal(t, []string{identity}, c.DNSNames)
		require.Len(t, c.Extensions, 5)
		require.True(t, c.MaxPathLenZero)
	})
}
