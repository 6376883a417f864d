package layout

import (
	"bytes"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// manifests returns the names of the manifests in testdata.
func manifests(t testing.TB) []string {
	t.Helper()
	var out []string
	for _, ext := range []string{"yaml", "json", "ndjson"} {
		found, err := filepath.Glob("testdata/*." + ext)
		require.NoError(t, err)
		out = append(out, found...)
	}
	require.NotEmpty(t, out)
	return out
}

// certificates returns the certificates of testdata by their squeezed text.
func certificates(t testing.TB) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/certs/*.pem")
	require.NoError(t, err)
	out := map[string]string{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		out[squeeze(string(text))] = strings.TrimSuffix(filepath.Base(f), ".pem")
	}
	return out
}

// summary renders a manifest for a golden file: certificates by name, then the
// text's end, which consumers are particular about.
func summary(m *Manifest, certs map[string]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d documents, %d objects\n", m.Documents, m.Objects)
	show := func(title string, texts []Text) {
		fmt.Fprintf(&b, "\n%s\n", title)
		for _, t := range texts {
			exact := "at"
			if t.Exact {
				exact = "from"
			}
			fmt.Fprintf(&b, "  %s, %s, %s line %d: %s\n      %s\n", t.Role, t.Store, exact, t.Line, contents(t.PEM, certs), t.From())
		}
	}
	show("texts", m.Texts)
	fmt.Fprintf(&b, "\nnotes\n")
	for _, n := range m.Notes {
		fmt.Fprintf(&b, "  %s, line %d\n      %s\n", n.Code, n.Line, n)
	}
	for _, c := range m.Configs {
		cfg := c.Config
		cfg.TrustAnchorsPEM = contents(cfg.TrustAnchorsPEM, certs)
		cfg.IssuerCrtPEM = contents(cfg.IssuerCrtPEM, certs)
		fmt.Fprintf(&b, "\nconfig of %s\n  %+v\n", c.Object, cfg)
	}
	return b.String()
}

func contents(pem string, certs map[string]string) string {
	blocks := pemBlocks(pem)
	if len(blocks) == 0 {
		return fmt.Sprintf("%q", pem)
	}
	var names []string
	for _, block := range blocks {
		name := certs[squeeze(block)]
		if name == "" {
			name = fmt.Sprintf("sha256 %.8x", sha256.Sum256([]byte(squeeze(block))))
		}
		names = append(names, name)
	}
	last := blocks[len(blocks)-1]
	return fmt.Sprintf("%s, then %q", strings.Join(names, ", "), pem[strings.LastIndex(pem, last)+len(last):])
}

func TestReadFindsWhatEachReleaseStores(t *testing.T) {
	certs := certificates(t)
	for _, file := range manifests(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			assert.True(t, IsManifest(data), "IsManifest")
			m, err := Read(data)
			require.NoError(t, err)
			got := summary(m, certs)
			want := file + ".want"
			if *update {
				require.NoError(t, os.WriteFile(want, []byte(got), 0o644))
			}
			golden, err := os.ReadFile(want)
			require.NoError(t, err)
			assert.Equal(t, string(golden), got)
			linesAreTrue(t, data, m)
		})
	}
}

// linesAreTrue checks the promise of Text.Line and Text.Exact.
func linesAreTrue(t *testing.T, data []byte, m *Manifest) {
	t.Helper()
	lines := strings.Split(string(toUTF8(data)), "\n")
	for _, text := range m.Texts {
		require.LessOrEqual(t, text.Line, len(lines))
		require.Positive(t, text.Line)
		if !text.Exact {
			continue
		}
		for i, want := range strings.Split(strings.TrimRight(text.PEM, "\n"), "\n") {
			assert.Equal(t, want, strings.TrimSpace(lines[text.Line-1+i]), text.From())
		}
	}
}

// Linkerd's own renderings are not part of this repository. Where they lie next
// to it, every release in them must be read.
func TestReadUpstreamRenderings(t *testing.T) {
	const dir = "../../../shared/goldens"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("no upstream renderings here")
	}
	type want struct {
		role  Role
		store Store
		field string
		line  int
		exact bool
	}
	const (
		flat   = `data["values"].identityTrustAnchorsPEM`
		nested = `data["values"].global.identityTrustAnchorsPEM`
		json   = `data["global"].identityContext.trustAnchorsPem`
		copied = `data["values"].identity.issuer.tls.crtPEM`
		over   = `data["linkerd-config-overrides"].identityTrustAnchorsPEM`
		overN  = `data["linkerd-config-overrides"].global.identityTrustAnchorsPEM`
		overI  = `data["linkerd-config-overrides"].identity.issuer.tls.crtPEM`
		roots  = `data["ca-bundle.crt"]`
		issuer = `data["crt.pem"]`
		sts    = `spec.template.spec.containers["linkerd-proxy"].env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"]`
		native = `spec.template.spec.initContainers["linkerd-proxy"].env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"]`
		pod    = `spec.initContainers["linkerd-proxy"].env["LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS"]`
		flag   = `spec.template.spec.containers["identity"].args["-identity-trust-anchors-pem"]`
		env    = `spec.template.spec.containers["identity"].env["LINKERD2_IDENTITY_TRUST_ANCHORS"]`
	)
	config := func(field string, line int, exact bool) want {
		return want{Anchors, StoreLinkerdConfig, field, line, exact}
	}
	issuerCopy := func(line int, exact bool) want {
		return want{IssuerCopy, StoreLinkerdConfig, copied, line, exact}
	}
	proxy := func(field string, line int) want { return want{Anchors, StoreProxyEnv, field, line, true} }
	overrides := func(field string) []want {
		return []want{{Anchors, StoreOverrides, field, 4, false}, {IssuerCopy, StoreOverrides, overI, 4, false}}
	}
	chain := func(line int) []want { return []want{{Chain, StoreIssuer, issuer, line, false}} }
	trustRoots := []want{{Anchors, StoreTrustRoots, roots, 14, true}}

	cases := map[string][]want{
		"2.7.1/linkerd-config.yaml":              {config(json, 14, false)},
		"2.7.1/helm-linkerd-config.yaml":         {config(json, 20, false)},
		"2.7.1/linkerd-identity-issuer.yaml":     chain(14),
		"2.7.1/linkerd-identity-deployment.yaml": {proxy(sts, 95)},
		"2.7.1/injected-deployment.yaml":         {proxy(sts, 69)},

		"2.9.5/linkerd-config.yaml":           {config(nested, 44, true), issuerCopy(138, true)},
		"2.9.5/helm-linkerd-config.yaml":      {config(nested, 43, false), issuerCopy(296, false)},
		"2.9.5/linkerd-config-overrides.yaml": overrides(overN),
		"2.9.5/linkerd-identity-issuer.yaml":  chain(14),
		"2.9.5/linkerd-identity-deployment.yaml": {
			{IdentityAnchors, StoreIdentityFlag, flag, 44, false}, proxy(sts, 111),
		},

		"2.10.2/linkerd-config.yaml":           {config(flat, 64, true), issuerCopy(49, true)},
		"2.10.2/linkerd-config-overrides.yaml": overrides(over),
		"2.10.2/linkerd-identity-deployment.yaml": {
			{IdentityAnchors, StoreIdentityEnv, env, 48, false}, proxy(sts, 118),
		},

		"2.12.6/linkerd-config.yaml":               {config(flat, 69, true), issuerCopy(53, true)},
		"2.12.6/linkerd-identity-trust-roots.yaml": trustRoots,
		"2.12.6/linkerd-identity-issuer.yaml":      chain(13),
		"2.12.6/linkerd-identity-deployment.yaml":  nil,

		"2.16/linkerd-config.yaml":               {config(flat, 88, true), issuerCopy(69, true)},
		"2.16/linkerd-identity-trust-roots.yaml": trustRoots,
		"2.16/injected-pod-nativesidecar.yaml":   {proxy(pod, 142)},
		"2.16/injected-statefulset.yaml":         {proxy(sts, 119)},
		"2.17/link-crd.yaml":                     nil,

		"edge-26.8.3/linkerd-config.yaml":               {config(flat, 98, true), issuerCopy(78, true)},
		"edge-26.8.3/linkerd-config-overrides.yaml":     overrides(over),
		"edge-26.8.3/linkerd-identity-trust-roots.yaml": trustRoots,
		"edge-26.8.3/linkerd-identity-issuer.yaml":      chain(13),
		"edge-26.8.3/injected-deployment.yaml":          {proxy(native, 191)},
		"edge-26.8.3/link-gen-gateway.yaml":             nil,

		"edge-26.8.3-two-anchors/linkerd-config.yaml":                 {config(flat, 98, true), issuerCopy(78, true)},
		"edge-26.8.3-external-ca-external-issuer/linkerd-config.yaml": nil,
	}
	for name, wants := range cases {
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			m, err := Read(data)
			require.NoError(t, err)
			var got []want
			for _, text := range m.Texts {
				got = append(got, want{text.Role, text.Store, text.Field, text.Line, text.Exact})
			}
			assert.Equal(t, wants, got)
			linesAreTrue(t, data, m)
		})
	}
	t.Run("a whole release in one stream", func(t *testing.T) {
		files, err := filepath.Glob(filepath.Join(dir, "edge-26.8.3", "linkerd-*.yaml"))
		require.NoError(t, err)
		var all [][]byte
		for _, f := range files {
			data, err := os.ReadFile(f)
			require.NoError(t, err)
			all = append(all, data)
		}
		m, err := Read(bytes.Join(all, []byte("---\n")))
		require.NoError(t, err)
		require.Len(t, m.Chains(), 1)
		stores := map[Store]int{}
		for _, text := range m.Anchors() {
			stores[text.Store]++
		}
		assert.Equal(t, map[Store]int{StoreLinkerdConfig: 1, StoreOverrides: 1, StoreTrustRoots: 1, StoreProxyEnv: 1}, stores)
	})
}

func TestAStreamOfMarkersIsRefusedAtOnce(t *testing.T) {
	_, err := Read(bytes.Repeat([]byte("---\n"), maxDocuments+10))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, maxDocuments+1, e.Document)
	require.Contains(t, e.Error(), "split it")
}
