package bundle_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/testca"
)

// now is the moment at which everything here happens.
var now = time.Date(2026, 9, 15, 10, 0, 0, 0, time.UTC)

const (
	day  = 24 * time.Hour
	year = 365 * day
)

func newLab() *testca.Lab { return testca.New(now) }

// wrap makes a bundle.Certificate of a certificate for tests.
func wrap(t testing.TB, c *testca.Cert) *bundle.Certificate {
	t.Helper()
	out, err := bundle.FromX509(c.Certificate)
	require.NoError(t, err)
	return out
}

func wraps(t testing.TB, cs ...*testca.Cert) []*bundle.Certificate {
	t.Helper()
	out := make([]*bundle.Certificate, len(cs))
	for i, c := range cs {
		out[i] = wrap(t, c)
	}
	return out
}

func bundleOf(t testing.TB, cs ...*testca.Cert) *bundle.Bundle {
	t.Helper()
	return bundle.New(wraps(t, cs...)...)
}

func pemOf(cs ...*testca.Cert) string { return testca.PEM(testca.Certs(cs...)...) }

// textVector is a case of internal/testdata/vectors/bundles.json.
type textVector struct {
	ID    string
	Input []struct {
		Text, Base64 string
		Repeat       int
	}
	Readings map[string]struct {
		Certs   []string
		Error   string
		Skipped []struct{ SHA256 string }
	}
}

func (c textVector) text(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, p := range c.Input {
		part := []byte(p.Text)
		if p.Base64 != "" {
			var err error
			part, err = base64.StdEncoding.DecodeString(p.Base64)
			require.NoError(t, err)
		}
		b.Write(bytes.Repeat(part, max(p.Repeat, 1)))
	}
	return b.Bytes()
}

func loadVectors(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "internal", "testdata", "vectors", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

func textVectors(t testing.TB) []textVector {
	t.Helper()
	var set struct{ Cases []textVector }
	loadVectors(t, "bundles.json", &set)
	require.NotEmpty(t, set.Cases)
	return set.Cases
}

// vectorText is the text of one case.
func vectorText(t testing.TB, id string) []byte {
	t.Helper()
	for _, c := range textVectors(t) {
		if c.ID == id {
			return c.text(t)
		}
	}
	t.Fatalf("no vector %s", id)
	return nil
}

// find returns the findings of a code.
func find(findings []bundle.Finding, code bundle.Code) []bundle.Finding {
	var out []bundle.Finding
	for _, f := range findings {
		if f.Code == code {
			out = append(out, f)
		}
	}
	return out
}
