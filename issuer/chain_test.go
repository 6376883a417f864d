package issuer_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

func TestChainInOrder(t *testing.T) {
	lab := testca.New(now)
	root := lab.Root("root")
	iss := root.Issuer("identity.linkerd.cluster.local")
	x1 := root.CrossSignedBy(lab.Root("old 1"), testca.Until(10*day))
	x2 := root.CrossSignedBy(lab.Root("old 2"), testca.Until(5*day))
	chain, err := issuer.NewChain(iss.Certificate, x1.Certificate, x2.Certificate)
	require.NoError(t, err)
	require.Equal(t, testca.Certs(iss, x1, x2), chain.Certificates)
	require.Equal(t, x2.NotAfter, chain.NotAfter)
	require.Same(t, x2.Certificate, chain.EndsFirst)

	text := chain.PEM()
	require.True(t, bytes.HasSuffix(text, []byte("-----END CERTIFICATE-----\n")))
	for _, c := range chain.Certificates {
		var block *pem.Block
		block, text = pem.Decode(text)
		require.Equal(t, c.Raw, block.Bytes)
	}
	require.Empty(t, text)

	alone, err := issuer.NewChain(iss.Certificate)
	require.NoError(t, err)
	require.Equal(t, iss.NotAfter, alone.NotAfter)
}

func TestChainOverTwoGenerations(t *testing.T) {
	lab := testca.New(now)
	oldest, old, root := lab.Root("oldest"), lab.Root("old"), lab.Root("root")
	iss := root.Issuer("identity.linkerd.cluster.local")
	chain, err := issuer.NewChain(iss.Certificate, root.CrossSignedBy(old).Certificate, old.CrossSignedBy(oldest).Certificate)
	require.NoError(t, err)
	_, err = issuer.CheckIssuer(chain.Certificates, testca.Certs(oldest), now, issuer.CheckOptions{})
	require.NoError(t, err)
}

func TestChainRefusals(t *testing.T) {
	lab := testca.New(now)
	old, root := lab.Root("old"), lab.Root("root")
	iss := root.Issuer("identity.linkerd.cluster.local")
	x := root.CrossSignedBy(old)
	sameNameOtherKey := lab.Root("root").CrossSignedBy(old)
	sameKeyOtherName := lab.Root("other", testca.WithKey(root.Key)).CrossSignedBy(old)
	other := lab.Root("other").CrossSignedBy(old)
	for name, c := range map[string]struct {
		crossSigned []*testca.Cert
		want        error
	}{
		"another root":              {[]*testca.Cert{other}, issuer.ErrNotSigner},
		"same subject, another key": {[]*testca.Cert{sameNameOtherKey}, issuer.ErrNotSigner},
		"same key, another subject": {[]*testca.Cert{sameKeyOtherName}, issuer.ErrNotSigner},
		"the root itself":           {[]*testca.Cert{root}, issuer.ErrSameAnchor},
		"twice":                     {[]*testca.Cert{x, x}, issuer.ErrSameAnchor},
		"no CA":                     {[]*testca.Cert{root.CrossSignedBy(old, testca.NotCA())}, issuer.ErrNotCA},
		"wrong order":               {[]*testca.Cert{old.CrossSignedBy(lab.Root("o")), x}, issuer.ErrNotSigner},
		"longer than proxies follow": {[]*testca.Cert{
			x, root.CrossSignedBy(lab.Root("1")), root.CrossSignedBy(lab.Root("2")), root.CrossSignedBy(lab.Root("3")),
			root.CrossSignedBy(lab.Root("4")), root.CrossSignedBy(lab.Root("5")),
		}, issuer.ErrPathLen},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := issuer.NewChain(iss.Certificate, testca.Certs(c.crossSigned...)...)
			require.ErrorIs(t, err, c.want)
		})
	}
	_, err := issuer.NewChain(nil)
	require.ErrorIs(t, err, issuer.ErrNotCA)
	_, err = issuer.NewChain(iss.Certificate, (*x509.Certificate)(nil))
	require.ErrorIs(t, err, issuer.ErrNotCA)
	_, err = issuer.NewChain(root.Leaf("a.b").Certificate)
	require.ErrorIs(t, err, issuer.ErrNotCA)
}
