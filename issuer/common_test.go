package issuer_test

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/testca"
	"github.com/windlass-mesh/windlass/issuer"
)

var (
	now  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	day  = 24 * time.Hour
	year = 365 * day
)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := issuer.GenerateKey()
	require.NoError(t, err)
	return key
}

func newRoot(t testing.TB, opts issuer.RootOptions) (*x509.Certificate, crypto.Signer) {
	t.Helper()
	key := newKey(t)
	root, err := issuer.Root(key, now, opts)
	require.NoError(t, err)
	return root, key
}

func codes(warnings []issuer.Warning) string {
	var out []string
	for _, w := range warnings {
		out = append(out, string(w.Code))
	}
	return strings.Join(out, " ")
}

// accepts tells whether a strict verifier takes a leaf under the issuer.
func accepts(leaf *x509.Certificate, between []*x509.Certificate, root *x509.Certificate, usage x509.ExtKeyUsage) error {
	v := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{usage}}
	v.Roots.AddCert(root)
	for _, c := range between {
		v.Intermediates.AddCert(c)
	}
	_, err := leaf.Verify(v)
	return err
}

func as(c *x509.Certificate, key crypto.Signer) *testca.Cert {
	// a lab's certificate with ours in it, to sign leaves with
	lab := testca.New(now)
	twin := lab.Root("twin", testca.WithKey(key))
	twin.Certificate = c
	return twin
}

func extensionOf(c *x509.Certificate, oid string) string {
	for _, e := range c.Extensions {
		if e.Id.String() == oid {
			return fmt.Sprintf("%v %x", e.Critical, e.Value)
		}
	}
	return ""
}

const (
	extSKI = "2.5.29.14"
	extAKI = "2.5.29.35"
	extNC  = "2.5.29.30"
	extEKU = "2.5.29.37"
	extBC  = "2.5.29.19"
	extKU  = "2.5.29.15"
)
