package bundle_test

import (
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
)

// The vectors say what the real readers took from each text.
func TestReadAsTakesWhatTheRealReadersTake(t *testing.T) {
	newest := bundle.Releases()[len(bundle.Releases())-1]
	for _, c := range textVectors(t) {
		t.Run(c.ID, func(t *testing.T) {
			text := c.text(t)
			for rules, reader := range map[bundle.Rules]string{bundle.Identity: "linkerdPool", bundle.Proxy: "proxy"} {
				real, ours := c.Readings[reader], bundle.ReadAs(text, rules, newest)
				require.Equal(t, real.Error != "", ours.Err != nil, "%s: the real one says %q, ours %v", reader, real.Error, ours.Err)
				got := []string{}
				for _, cert := range ours.Certificates {
					got = append(got, cert.Fingerprint().String())
				}
				if ours.Err == nil {
					require.Equal(t, real.Certs, got, reader)
				}
				if rules == bundle.Proxy && ours.Err == nil {
					require.Len(t, ours.Skipped, len(real.Skipped))
				}
			}
		})
	}
}

func TestTheLineAtWhichIdentityStopsReading(t *testing.T) {
	lab := newLab()
	a, b := lab.Root("a").PEM(), lab.Root("b").PEM()
	foreign := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: make([]byte, 200)}))
	withHeaders := string(pem.EncodeToMemory(&pem.Block{Type: "X", Headers: map[string]string{"A": "b"}, Bytes: make([]byte, 200)}))
	for name, block := range map[string]string{"plain": foreign, "headers": withHeaders, "spaces": strings.ReplaceAll(foreign, "\n", "  \n")} {
		for _, end := range []string{"\n", "\r\n"} {
			before := a + "# one\n\n# -----BEGIN EC PARAMETERS----- two\n"
			text := strings.ReplaceAll(before+block+b, "\n", end)
			want := strings.Count(before, "\n") + 1
			got := bundle.ReadAs([]byte(text), bundle.Identity, bundle.Releases()[0])
			require.NoError(t, got.Err)
			require.Len(t, got.Certificates, 1)
			require.Equal(t, want, got.TruncatedAt, "%s %q", name, end)

			source := source(t, text)
			found := find(bundle.Lint(source, bundle.LintOptions{Now: now}), bundle.CodeTruncatedForIdentity)
			require.Len(t, found, 1)
			require.Contains(t, found[0].Message, fmt.Sprintf("line %d ", want))
			require.Contains(t, found[0].Message, "it reads 1 of 2 certificates")
		}
	}
	atTheEnd := bundle.ReadAs([]byte(a+foreign), bundle.Identity, bundle.Releases()[0])
	require.Zero(t, atTheEnd.TruncatedAt, "nothing is dropped")
}

func TestReadingOneFileForManyPurposes(t *testing.T) {
	lab := newLab()
	root := lab.Root("root")
	issuer := root.Issuer("issuer")
	leaf := issuer.Leaf("web.emojivoto")
	presented := pemOf(leaf, issuer, root)
	chain, err := bundle.ReadChain([]byte("subject=web\n" + presented + "\n\n"))
	require.NoError(t, err)
	require.Len(t, chain, 3)
	file := bundle.AfterFirst([]byte(presented))
	require.Equal(t, pemOf(issuer, root), string(file))
	certs, err := bundle.ReadIssuer(file)
	require.NoError(t, err)
	require.Len(t, certs, 2)
	_, err = bundle.ReadIssuer([]byte(pemOf(issuer) + "\n"))
	require.EqualError(t, err, "not a PEM certificate")
	_, err = bundle.ReadIssuer(nil)
	require.EqualError(t, err, "no certificates found")
}
