package issuer_test

import (
	"crypto"
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func TestIntermediateByDefault(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	key := newKey(t)
	got, err := issuer.Intermediate(key.Public(), root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Empty(t, got.Warnings)
	c := got.Certificate
	id, err := issuer.KeyID(key.Public())
	require.NoError(t, err)

	require.Equal(t, "identity.linkerd.cluster.local", c.Subject.CommonName)
	require.Equal(t, id, c.Subject.SerialNumber)
	require.Equal(t, []string{"identity.linkerd.cluster.local"}, c.DNSNames)
	require.True(t, c.IsCA)
	require.True(t, c.MaxPathLenZero)
	require.Equal(t, "true 03020106", extensionOf(c, extKU))
	require.Empty(t, extensionOf(c, extEKU))
	require.Equal(t, root.SubjectKeyId, c.AuthorityKeyId)
	require.Equal(t, x509.ECDSAWithSHA256, c.SignatureAlgorithm)
	require.Equal(t, now.Add(-time.Hour), c.NotBefore)
	require.Equal(t, now.Add(8760*time.Hour), c.NotAfter)
	leaf := as(c, key).Leaf("web.emojivoto").Certificate
	require.NoError(t, accepts(leaf, []*x509.Certificate{c}, root, x509.ExtKeyUsageServerAuth))
	require.NoError(t, accepts(leaf, []*x509.Certificate{c}, root, x509.ExtKeyUsageClientAuth))
}

// A default install's root has the very name that Linkerd gives issuers.
func TestIntermediateUnderLinkerdsOwnRoot(t *testing.T) {
	root := testca.New(now).Root("identity.linkerd.cluster.local", testca.EKU(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
	got, err := issuer.Intermediate(newKey(t).Public(), root.Certificate, root.Key, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.NotEqual(t, root.RawSubject, got.Certificate.RawSubject)
	require.NotEmpty(t, got.Certificate.AuthorityKeyId)

	for _, cn := range []string{"identity.linkerd.cluster.local", "Identity.linkerd.cluster.LOCAL"} {
		_, err = issuer.Intermediate(newKey(t).Public(), root.Certificate, root.Key, now, issuer.IntermediateOptions{CommonName: cn, ExactName: true})
		require.ErrorIs(t, err, issuer.ErrSameSubject)
	}
}

func TestIntermediateOfAnotherMesh(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	got, err := issuer.Intermediate(newKey(t).Public(), root, rootKey, now, issuer.IntermediateOptions{
		Namespace: "l5d", TrustDomain: "east.example.org", CommonName: "east", ExactName: true, Validity: 48 * time.Hour, Backdate: -1,
	})
	require.NoError(t, err)
	require.Equal(t, "CN=east", got.Certificate.Subject.String())
	require.Equal(t, []string{"identity.l5d.east.example.org"}, got.Certificate.DNSNames)
	require.Equal(t, now, got.Certificate.NotBefore)
	require.Equal(t, now.Add(48*time.Hour), got.Certificate.NotAfter)
}

func TestIntermediateStaysWithinItsRoot(t *testing.T) {
	root := testca.New(now).Root("root", testca.From(-time.Minute), testca.Until(30*day))
	got, err := issuer.Intermediate(newKey(t).Public(), root.Certificate, root.Key, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Equal(t, root.NotBefore, got.Certificate.NotBefore)
	require.Equal(t, root.NotAfter, got.Certificate.NotAfter)
	require.Equal(t, "validity-clamped", codes(got.Warnings))
	require.Contains(t, got.Warnings[0].String(), "2026-03-31T12:00:00Z")
}

func TestIntermediateUnderOldRoots(t *testing.T) {
	lab := testca.New(now)
	for kind, c := range map[string]struct {
		algorithm      x509.SignatureAlgorithm
		plain, allowed error
		warns          string
	}{
		"RSA 2048": {algorithm: x509.SHA256WithRSA},
		"RSA 4096": {algorithm: x509.SHA256WithRSA},
		"RSA 3072": {algorithm: x509.SHA256WithRSA, plain: issuer.ErrUnsupportedKey, warns: "unusual-key"},
		"P-384":    {algorithm: x509.ECDSAWithSHA256, plain: issuer.ErrUnsupportedKey, warns: "unusual-key"},
		"P-521":    {algorithm: x509.ECDSAWithSHA256, plain: issuer.ErrUnsupportedKey, warns: "unusual-key"},
		"Ed25519":  {algorithm: x509.PureEd25519, plain: issuer.ErrUnsupportedKey, warns: "unusual-key signature-algorithm"},
		"P-224":    {plain: issuer.ErrUnsupportedKey, allowed: issuer.ErrUnsupportedKey},
	} {
		t.Run(kind, func(t *testing.T) {
			root := lab.Root("root", testca.Kind(kind))
			_, err := issuer.Intermediate(newKey(t).Public(), root.Certificate, root.Key, now, issuer.IntermediateOptions{})
			require.ErrorIs(t, err, c.plain)
			got, err := issuer.Intermediate(newKey(t).Public(), root.Certificate, root.Key, now, issuer.IntermediateOptions{AllowUnusual: true})
			require.ErrorIs(t, err, c.allowed)
			if err == nil {
				require.Equal(t, c.algorithm, got.Certificate.SignatureAlgorithm)
				require.Equal(t, c.warns, codes(got.Warnings))
			}
		})
	}
}

func TestIntermediateRefusals(t *testing.T) {
	lab := testca.New(now)
	root := lab.Root("root")
	for name, c := range map[string]struct {
		pub  crypto.PublicKey
		root *testca.Cert
		opts issuer.IntermediateOptions
		want error
	}{
		"no key":                  {pub: "none", want: issuer.ErrUnsupportedKey},
		"RSA":                     {pub: testca.Key("RSA 2048").Public(), want: issuer.ErrUnsupportedKey},
		"P-384":                   {pub: testca.Key("P-384").Public(), want: issuer.ErrUnsupportedKey},
		"the root's key":          {pub: root.Key.Public(), want: issuer.ErrSameKey},
		"path length 0":           {root: lab.Root("root", testca.PathLen(0)), want: issuer.ErrPathLen},
		"root expired":            {root: lab.Root("root", testca.From(-day), testca.Until(-time.Second)), want: issuer.ErrExpired},
		"root not yet valid":      {root: lab.Root("root", testca.From(time.Second)), want: issuer.ErrNotYetValid},
		"root constrained away":   {root: lab.Root("root", testca.Permit("example.org")), want: issuer.ErrUntrusted},
		"namespace":               {opts: issuer.IntermediateOptions{Namespace: "a.b"}, want: issuer.ErrName},
		"trust domain":            {opts: issuer.IntermediateOptions{TrustDomain: "Cluster.local"}, want: issuer.ErrName},
		"trust domain with a dot": {opts: issuer.IntermediateOptions{TrustDomain: "cluster.local."}, want: issuer.ErrName},
		"long name":               {opts: issuer.IntermediateOptions{TrustDomain: strings.Repeat("a.", 30) + "a"}, want: issuer.ErrName},
		"too long for DNS":        {opts: issuer.IntermediateOptions{TrustDomain: strings.Repeat("a.", 130) + "a", CommonName: "short"}, want: issuer.ErrName},
		"validity":                {opts: issuer.IntermediateOptions{Validity: time.Millisecond}, want: issuer.ErrValidity},
		"root not a CA":           {root: root.Leaf("a.b"), want: issuer.ErrNotCA},
	} {
		t.Run(name, func(t *testing.T) {
			if c.pub == nil {
				c.pub = newKey(t).Public()
			}
			if c.root == nil {
				c.root = root
			}
			_, err := issuer.Intermediate(c.pub, c.root.Certificate, c.root.Key, now, c.opts)
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestIntermediateWarnings(t *testing.T) {
	lab := testca.New(now)
	short := lab.Root("root", testca.PathLen(0))
	got, err := issuer.Intermediate(newKey(t).Public(), short.Certificate, short.Key, now, issuer.IntermediateOptions{AllowPathLen: true})
	require.NoError(t, err)
	require.Equal(t, "path-length", codes(got.Warnings))
	constrained := lab.Root("root", testca.Permit("cluster.local"))
	got, err = issuer.Intermediate(newKey(t).Public(), constrained.Certificate, constrained.Key, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.Equal(t, "name-constraints", codes(got.Warnings))
}

func TestTwoIssuersOfOneRootDiffer(t *testing.T) {
	root, rootKey := newRoot(t, issuer.RootOptions{})
	a, err := issuer.Intermediate(newKey(t).Public(), root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	b, err := issuer.Intermediate(newKey(t).Public(), root, rootKey, now, issuer.IntermediateOptions{})
	require.NoError(t, err)
	require.NotEqual(t, a.Certificate.RawSubject, b.Certificate.RawSubject)
}
