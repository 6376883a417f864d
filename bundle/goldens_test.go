package bundle_test

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
)

// The manifests of Linkerd's own releases are not part of this repository; the
// test reads them where they lie beside it.
const goldens = "../../shared/goldens"

var (
	base64Token = regexp.MustCompile(`[A-Za-z0-9+/]{200,}={0,2}`)
	certBlock   = regexp.MustCompile(`-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----`)
)

// certificatesAnywhere finds certificates with regular expressions alone: in
// the text, in what is base64 in it, and with escaped line ends.
func certificatesAnywhere(text string) map[bundle.Fingerprint]*x509.Certificate {
	found := make(map[bundle.Fingerprint]*x509.Certificate)
	texts := []string{text}
	for _, token := range base64Token.FindAllString(text, -1) {
		if plain, err := base64.StdEncoding.DecodeString(token); err == nil && strings.Contains(string(plain), "-----BEGIN") {
			texts = append(texts, string(plain))
			for f, c := range certificatesAnywhere(string(plain)) {
				found[f] = c
			}
		}
	}
	for _, text := range texts {
		text = strings.ReplaceAll(text, `\n`, "\n")
		for _, m := range certBlock.FindAllStringSubmatch(text, -1) {
			der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(m[1]), ""))
			if err != nil {
				continue
			}
			if c, err := x509.ParseCertificate(der); err == nil {
				found[sha256.Sum256(der)] = c
			}
		}
	}
	return found
}

func TestEveryGoldenReadsToItsAnchorsAndChain(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(goldens, "*", "*.yaml"))
	require.NoError(t, err)
	if len(files) == 0 {
		t.Skip("no goldens beside the repository")
	}
	with, without := 0, 0
	years := make(map[string]bool)
	for _, file := range files {
		name, _ := filepath.Rel(goldens, file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			var roots, others []bundle.Fingerprint
			for f, c := range certificatesAnywhere(string(data)) {
				if c.CheckSignatureFrom(c) == nil {
					roots = append(roots, f)
					years[c.NotBefore.Format("2006")+"-"+c.NotAfter.Format("2006")] = true
				} else {
					others = append(others, f)
				}
			}
			src, err := bundle.ReadSource(file, data)
			require.NoError(t, err)
			require.True(t, src.Manifest)

			anchors, err := src.Anchors()
			isIssuer := strings.Contains(name, "identity-issuer")
			switch {
			case isIssuer || len(roots) == 0:
				without++
				require.ErrorIs(t, err, bundle.ErrNoCertificate)
				if strings.Contains(string(data), "test-trust-anchor") || strings.Contains(string(data), "test-crt-pem") {
					require.ErrorContains(t, err, "read "+file)
				}
			default:
				with++
				require.NoError(t, err)
				var got []bundle.Fingerprint
				for _, c := range anchors.Certificates() {
					got = append(got, c.Fingerprint())
					require.NotEmpty(t, anchors.From(c.Fingerprint()))
				}
				require.ElementsMatch(t, roots, got)
				require.Empty(t, src.Disagreements(), "all copies agree")
			}

			chain, err := src.Chain()
			if !isIssuer || len(others) == 0 {
				require.ErrorIs(t, err, bundle.ErrNoCertificate)
				return
			}
			require.NoError(t, err)
			require.Len(t, chain, 1)
			require.Equal(t, others, []bundle.Fingerprint{chain[0].Fingerprint()})
			require.True(t, chain[0].IsCA())
		})
	}
	require.Greater(t, with, 20)
	require.Greater(t, without, 10)
	got := make([]string, 0, len(years))
	for y := range years {
		got = append(got, y)
	}
	slices.Sort(got)
	require.Equal(t, []string{"2019-2029", "2020-2030"}, got, "the pair up to 2.8, and the one since")
}

// Issuer and anchors of each release verify as what they are.
func TestTheGoldensOfEachReleaseVerify(t *testing.T) {
	releases := []string{"2.7.1", "2.9.5", "2.10.2", "2.12.6", "2.16", "edge-26.8.3"}
	for _, release := range releases {
		read := func(file string) *bundle.Source {
			data, err := os.ReadFile(filepath.Join(goldens, release, file))
			if os.IsNotExist(err) {
				t.Skip("no goldens beside the repository")
			}
			require.NoError(t, err)
			src, err := bundle.ReadSource(file, data)
			require.NoError(t, err)
			return src
		}
		chain, err := read("linkerd-identity-issuer.yaml").Chain()
		require.NoError(t, err)
		for _, rules := range []bundle.Rules{bundle.Proxy, bundle.Identity} {
			anchors, err := read("linkerd-config.yaml").AnchorsAs(rules)
			require.NoError(t, err)
			v := bundle.Verify(bundle.Query{Rules: rules, Issuer: chain, Anchors: anchors, At: now})
			require.True(t, v.OK, "%s %s: %s", release, rules, v.Reason)
		}
	}
}

func TestTheGoldenCertificatesHaveTheFaultsTheyAreNamedFor(t *testing.T) {
	for file, want := range map[string]bundle.Code{
		"expired-trust-anchors.pem":       bundle.CodeExpired,
		"not-valid-yet-trust-anchors.pem": bundle.CodeNotYetValid,
		"wrong-algo-trust-anchors.pem":    bundle.CodeUnsupportedKey,
		"valid-trust-anchors.pem":         "",
		"rsa-ca.crt":                      "",
	} {
		data, err := os.ReadFile(filepath.Join(goldens, "certs", file))
		if os.IsNotExist(err) {
			t.Skip("no goldens beside the repository")
		}
		require.NoError(t, err)
		src, err := bundle.ReadSource(file, data)
		require.NoError(t, err)
		require.False(t, src.Manifest)
		var codes []bundle.Code
		for _, f := range bundle.Lint(src, bundle.LintOptions{Now: now}) {
			if f.Level != bundle.LevelInfo {
				codes = append(codes, f.Code)
			}
		}
		if want == "" {
			require.Empty(t, codes, file)
			continue
		}
		require.Contains(t, codes, want, file)
	}
}
