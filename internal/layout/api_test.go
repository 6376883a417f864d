package layout

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestIsManifest(t *testing.T) {
	cert, err := os.ReadFile("testdata/certs/root.pem")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		in   string
		want bool
	}{
		"PEM":                       {string(cert), false},
		"PEM with a comment":        {"# the root\n" + string(cert), false},
		"PEM as openssl prints it":  {"Certificate:\n    Data:\n        Version: 3 (0x2)\n" + string(cert), false},
		"PEM with bag attributes":   {"Bag Attributes\n    localKeyID: 01\nsubject=CN = x\n" + string(cert), false},
		"PEM with a mark":           {"\xef\xbb\xbf" + string(cert), false},
		"nothing":                   {"", false},
		"words":                     {"hello world\n", false},
		"an object":                 {"apiVersion: v1\nkind: Pod\n", true},
		"an object with a comment":  {"# source: x\n\nkind: Pod\n", true},
		"an object with PEM astray": {"kind: ConfigMap\ndata:\n  x: |\n" + string(cert), true},
		"values":                    {"identityTrustAnchorsPEM: |\n  -----BEGIN CERTIFICATE-----\n", true},
		"a stream":                  {"---\nx", true},
		"a list":                    {"- kind: Pod\n", true},
		"JSON":                      {"\n {\"kind\": 1}", true},
		"JSON array":                {"[]", true},
		"a directive":               {"%YAML 1.1\n---\n", true},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, c.want, IsManifest([]byte(c.in))) })
	}
}

func read(t *testing.T, file string) *Manifest {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	m, err := Read(data)
	require.NoError(t, err)
	return m
}

func TestAnchorsFallBackOnlyWhereNothingElseStoresAny(t *testing.T) {
	roles := func(texts []Text) (out []string) {
		for _, text := range texts {
			out = append(out, text.Role.String()+" "+string(text.Store))
		}
		return out
	}
	assert.Equal(t, []string{"anchors linkerd-config", "anchors proxy-env"}, roles(read(t, "linkerd-2.8.1-helm.yaml").Anchors()))
	assert.Equal(t, []string{"fallback-anchors issuer"}, roles(read(t, "linkerd-external-ca.yaml").Anchors()))
	assert.Equal(t, []string{"fallback-anchors issuer"}, roles(read(t, "cert-manager.yaml").Anchors()))
	assert.Equal(t, []string{"fallback-anchors tls-secret"}, roles(read(t, "cert-manager-root.yaml").Anchors()))
	assert.Empty(t, read(t, "linkerd-2.8.1-identity-disabled.yaml").Anchors())
	m := &Manifest{Texts: []Text{{Role: FallbackAnchors, Store: StoreIssuer}, {Role: IdentityAnchors, Store: StoreIdentityEnv}}}
	assert.Equal(t, []string{"identity-anchors identity-env"}, roles(m.Anchors()))
}

func TestChainsPreferTheIssuer(t *testing.T) {
	one := func(file string) string {
		chains := read(t, file).Chains()
		require.Len(t, chains, 1, file)
		return chains[0].Object.Name
	}
	assert.Equal(t, "linkerd-identity-issuer", one("cert-manager.yaml"))
	assert.Equal(t, "linkerd-trust-anchor", one("cert-manager-root.yaml"))
	assert.Equal(t, "cacerts", one("istio.yaml"))
	assert.Equal(t, "linkerd-identity-issuer", one("linkerd-2.18.yaml"))
	assert.Empty(t, read(t, "linkerd-2.9.5-helm.yaml").Chains(), "the copy in linkerd-config is no chain")
}

func TestLinkerdConfig(t *testing.T) {
	cfg, err := LinkerdConfig(map[string]string{
		"global": `{"version":"stable-2.8.1","clusterDomain":"c","identity_context":{"trust_anchors_pem":"x\n","scheme":""}}`,
	})
	require.NoError(t, err)
	assert.Equal(t, Config{Layout: LayoutGlobal, TrustAnchorsPEM: "x\n", TrustDomain: "c", ClusterDomain: "c",
		Scheme: SchemeLinkerd, LinkerdVersion: "stable-2.8.1"}, cfg)

	cfg, err = LinkerdConfig(map[string]string{
		"values": "global:\n  identityTrustAnchorsPEM: a\nidentityTrustAnchorsPEM: b\nidentity:\n  issuer: {scheme: kubernetes.io/tls}\n",
		"global": "not even JSON",
	})
	require.NoError(t, err)
	assert.Equal(t, Config{Layout: LayoutValuesNested, TrustAnchorsPEM: "a", Scheme: SchemeKubernetes}, cfg)

	cfg, err = LinkerdConfig(map[string]string{"values": "global: {registry: x}\nidentityTrustAnchorsPEM: b\n"})
	require.NoError(t, err)
	assert.Equal(t, LayoutValuesFlat, cfg.Layout, "a global of a parent chart is not Linkerd's")
	assert.Equal(t, "b", cfg.TrustAnchorsPEM)

	cfg, err = LinkerdConfig(map[string]string{"values": " \n", "global": `{"identityContext":null}`})
	require.NoError(t, err)
	assert.True(t, cfg.IdentityDisabled)

	_, err = LinkerdConfig(map[string]string{"proxy": "{}"})
	assert.EqualError(t, err, "ConfigMap linkerd-config: neither of the keys values and global holds anything")
	_, err = LinkerdConfig(map[string]string{"values": "a: 1\nb: c: d\n"})
	assert.EqualError(t, err, `line 2: ConfigMap linkerd-config data["values"]: mapping values are not allowed in this context`)
}

func TestIssuerSecret(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	both := map[string][]byte{"crt.pem": b("a"), "tls.crt": b("b"), "tls.key": b("k"), "ca.crt": b("c")}

	i, err := IssuerSecret(both, "")
	require.NoError(t, err)
	assert.Equal(t, Issuer{Scheme: SchemeLinkerd, CertKey: "crt.pem", ChainPEM: "a", CAPEM: "c", BothSchemes: true}, i)
	i, err = IssuerSecret(both, SchemeKubernetes)
	require.NoError(t, err)
	assert.Equal(t, Issuer{Scheme: SchemeKubernetes, CertKey: "tls.crt", ChainPEM: "b", CAPEM: "c", HasKey: true, BothSchemes: true}, i)
	_, err = IssuerSecret(map[string][]byte{"tls.crt": b("b")}, SchemeLinkerd)
	assert.EqualError(t, err, `Secret data["crt.pem"]: the scheme linkerd.io/tls needs this key`)
	_, err = IssuerSecret(nil, "")
	assert.EqualError(t, err, "Secret: neither crt.pem nor tls.crt is there")
}

func TestProxyEnvTakesTheLast(t *testing.T) {
	ref := &KeyRef{Kind: "ConfigMap", Name: "n", Key: "k"}
	got, n := ProxyEnv([]EnvVar{{Name: ProxyAnchorsEnv, Value: "a"}, {Name: "x"}, {Name: ProxyAnchorsEnv, Ref: ref}})
	assert.Equal(t, 2, n)
	assert.Equal(t, "ConfigMap n key k", got.Ref.String())
	_, n = ProxyEnv(nil)
	assert.Zero(t, n)
}

func TestIdenticalTextsAreOne(t *testing.T) {
	m, err := Read(pods(t, 50))
	require.NoError(t, err)
	require.Len(t, m.Texts, 50)
	for _, text := range m.Texts {
		assert.Same(t, unsafe.StringData(m.Texts[0].PEM), unsafe.StringData(text.PEM))
	}
}

func FuzzRead(f *testing.F) {
	for _, file := range manifests(f) {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("kind: List\nitems: &a\n- *a\n- {<<: *a}\n"))
	f.Add([]byte("{\"kind\":\"Pod\",\"spec\":{\"containers\":[{\"name\":\"linkerd-proxy\",\"env\":[{}]}]}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		IsManifest(data)
		m, err := Read(data)
		if err != nil {
			if e, ok := err.(*Error); !ok || e.Line < 1 || e.Document < 1 || e.Reason == "" {
				t.Fatalf("an error without a place: %#v", err)
			}
			return
		}
		// YAML ends a line at CR, LF or both.
		text := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(string(toUTF8(data)))
		lines := 1 + strings.Count(text, "\n")
		for _, text := range m.Texts {
			if blank(text.PEM) || text.Line < 1 || text.Line > lines || text.Role == 0 || text.Store == "" {
				t.Fatalf("%+v", text)
			}
			if again, found := redact(text.PEM); found && again != text.PEM {
				t.Fatalf("a private key in %s", text.From())
			}
		}
		for _, n := range m.Notes {
			if n.Line < 1 || n.Line > lines || n.Code == "" {
				t.Fatalf("%+v", n)
			}
		}
		m.Anchors()
		m.Chains()
	})
}

// pods returns a stream of n injected pods with the same literal bundle.
func pods(t testing.TB, n int) []byte {
	t.Helper()
	cert, err := os.ReadFile("testdata/certs/root.pem")
	require.NoError(t, err)
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: pod-%d\n  namespace: apps\nspec:\n  containers:\n  - name: linkerd-proxy\n    env:\n", i)
		for j := range 30 {
			fmt.Fprintf(&b, "    - name: LINKERD2_PROXY_SETTING_%d\n      value: \"%d\"\n", j, j)
		}
		b.WriteString("    - name: " + ProxyAnchorsEnv + "\n      value: |\n        " +
			strings.ReplaceAll(strings.TrimSpace(string(cert)), "\n", "\n        ") + "\n")
	}
	return []byte(b.String())
}

func BenchmarkReadThousandPods(b *testing.B) {
	data := pods(b, 1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(data); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleRead() {
	manifest, err := Read([]byte(`
kind: ConfigMap
apiVersion: v1
metadata: {name: linkerd-identity-trust-roots, namespace: linkerd}
data:
  ca-bundle.crt: |-
    -----BEGIN CERTIFICATE-----
    ...
    -----END CERTIFICATE-----
`))
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, text := range manifest.Anchors() {
		fmt.Printf("line %d, %s\n", text.Line, text.From())
	}
	// Output: line 7, ConfigMap linkerd/linkerd-identity-trust-roots data["ca-bundle.crt"]
}
