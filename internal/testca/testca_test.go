package testca_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func verify(t *testing.T, chain []*x509.Certificate, roots ...*testca.Cert) error {
	t.Helper()
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: testca.Pool(roots...), Intermediates: between, CurrentTime: now})
	return err
}

func TestHierarchies(t *testing.T) {
	lab := testca.New(now)
	old, root := lab.Root("old"), lab.Root("root")
	iss := root.Issuer("identity.linkerd.cluster.local")
	leaf := iss.Leaf("web.emojivoto")
	x := root.CrossSignedBy(old)

	require.Equal(t, []string{"web.emojivoto.serviceaccount.identity.linkerd.cluster.local"}, leaf.DNSNames)
	require.NoError(t, verify(t, leaf.Chain(), root))
	require.NoError(t, verify(t, leaf.Chain(), root.Again()))
	require.Error(t, verify(t, leaf.Chain(), old))
	require.NoError(t, verify(t, leaf.Chain(x), old))
	require.Len(t, leaf.TLS(x).Certificate, 3)
}

func TestOptions(t *testing.T) {
	lab := testca.New(now)
	c := lab.Root("r", testca.From(-48*time.Hour), testca.Until(-24*time.Hour), testca.PathLen(0), testca.Kind("P-384"), testca.Permit("example.org"))
	require.Equal(t, now.Add(-48*time.Hour), c.NotBefore)
	require.Equal(t, now.Add(-24*time.Hour), c.NotAfter)
	require.True(t, c.MaxPathLenZero)
	require.Equal(t, elliptic.P384(), c.PublicKey.(*ecdsa.PublicKey).Curve)
	require.Equal(t, []string{"example.org"}, c.PermittedDNSDomains)
	require.Equal(t, now.Add(time.Minute), lab.Root("r", testca.Until(time.Hour), testca.From(time.Minute)).NotBefore)
	require.Contains(t, c.PEM()+c.KeyPEM(), "-----BEGIN PRIVATE KEY-----")
	require.Panics(t, func() { lab.Root("r", testca.Kind("none")) })
}
