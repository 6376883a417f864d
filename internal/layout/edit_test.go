package layout

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// stored is a text as some release stores it.
type stored struct {
	name, text string
	global     bool // JSON of the key global
}

// storedTexts returns every configuration, overrides and values text of the
// fixtures, and of Linkerd's own renderings where they lie next to the
// repository.
func storedTexts(t testing.TB) (out []stored) {
	t.Helper()
	files := manifests(t)
	upstream, _ := filepath.Glob("../../../shared/goldens/*/*linkerd-config*.yaml")
	for _, file := range append(files, upstream...) {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		dec := yaml.NewDecoder(strings.NewReader(string(toUTF8(data))))
		for {
			var o struct {
				Kind                    string
				Metadata                struct{ Name string }
				Data, StringData        map[string]string
				IdentityTrustAnchorsPEM any `yaml:"identityTrustAnchorsPEM"`
			}
			if dec.Decode(&o) != nil {
				break
			}
			name := filepath.Join(filepath.Base(filepath.Dir(file)), filepath.Base(file))
			switch {
			case o.Metadata.Name == linkerdConfigName && o.Kind == "ConfigMap":
				if v := o.Data[valuesKey]; !blank(v) {
					out = append(out, stored{name + " values", v, false})
				}
				if v := o.Data[globalKey]; !blank(v) {
					out = append(out, stored{name + " global", v, true})
				}
			case o.Metadata.Name == overridesName:
				if v := o.StringData[overridesName]; v != "" {
					out = append(out, stored{name + " overrides", v, false})
				}
				if b, err := base64.StdEncoding.DecodeString(o.Data[overridesName]); err == nil && len(b) > 0 {
					out = append(out, stored{name + " overrides", string(b), false})
				}
			case o.Kind == "" && o.IdentityTrustAnchorsPEM != nil:
				out = append(out, stored{name, string(data), false})
			}
		}
	}
	require.Greater(t, len(out), 12)
	return out
}

func (s stored) edit(e Edit) (string, error) {
	if s.global {
		return EditGlobal(s.text, e)
	}
	return EditValues(s.text, e)
}

func (s stored) config(t testing.TB, text string) Config {
	t.Helper()
	key := valuesKey
	if s.global {
		key = globalKey
	}
	c, err := LinkerdConfig(map[string]string{key: text})
	require.NoError(t, err, text)
	return c
}

func certs(t testing.TB, names ...string) (pem string) {
	t.Helper()
	for _, n := range names {
		b, err := os.ReadFile("testdata/certs/" + n + ".pem")
		require.NoError(t, err)
		pem += string(b)
	}
	return pem
}

func TestEveryStoredTextTakesABundleAndNothingElseChanges(t *testing.T) {
	bundle := certs(t, "root2", "root", "istio-root")
	for _, s := range storedTexts(t) {
		t.Run(s.name, func(t *testing.T) {
			before := s.config(t, s.text)
			text, err := s.edit(Edit{Anchors: bundle})
			if before.IdentityDisabled && s.global {
				require.ErrorIs(t, err, ErrEdit)
				return
			}
			require.NoError(t, err)
			after := s.config(t, text)
			assert.Equal(t, endLike(before.TrustAnchorsPEM, bundle), after.TrustAnchorsPEM)
			after.TrustAnchorsPEM = before.TrustAnchorsPEM
			assert.Equal(t, before, after)
			assertOneRegion(t, s.text, text)

			again, err := s.edit(Edit{Anchors: bundle})
			require.NoError(t, err)
			assert.Equal(t, text, again, "the same edit gives the same text")
			same, err := stored{text: text, global: s.global}.edit(Edit{Anchors: bundle})
			require.NoError(t, err)
			assert.Equal(t, text, same, "what is there already changes nothing")

			if !blank(before.TrustAnchorsPEM) && !strings.Contains(s.text, ": \"-----BEGIN") && isPEM(before.TrustAnchorsPEM) {
				back, err := stored{text: text, global: s.global}.edit(Edit{Anchors: before.TrustAnchorsPEM})
				require.NoError(t, err)
				if !strings.Contains(s.text, "Pem\": \"") { // JSON may escape in more than one way
					assert.Equal(t, s.text, back, "and back again, byte for byte")
				}
			}
		})
	}
}

func isPEM(s string) bool {
	return strings.HasPrefix(s, "-----BEGIN ") && !strings.HasSuffix(s, "\n\n")
}

// assertOneRegion checks that the texts differ in one region, and that whole
// lines of PEM or the value's own line are all that it holds.
func assertOneRegion(t *testing.T, a, b string) {
	t.Helper()
	x, y := strings.SplitAfter(a, "\n"), strings.SplitAfter(b, "\n")
	for len(x) > 0 && len(y) > 0 && x[0] == y[0] {
		x, y = x[1:], y[1:]
	}
	for len(x) > 0 && len(y) > 0 && x[len(x)-1] == y[len(y)-1] {
		x, y = x[:len(x)-1], y[:len(y)-1]
	}
	for _, line := range x {
		line = strings.TrimSpace(line)
		ok := strings.Contains(line, "PEM") || strings.Contains(line, "trustAnchorsPem") || strings.Contains(line, "trust_anchors_pem") ||
			strings.HasPrefix(line, "-----") || !strings.ContainsAny(line, ": ")
		assert.True(t, ok, "this line was lost or changed: %.80s", line)
	}
}

func TestTheIssuerCopyIsReplacedBesideTheAnchors(t *testing.T) {
	crt, key := certs(t, "istio-ca"), "-----BEGIN EC PRIVATE KEY-----\nQUJD\n-----END EC PRIVATE KEY-----\n"
	for _, s := range storedTexts(t) {
		if s.global || !strings.HasSuffix(s.name, "overrides") && !strings.HasSuffix(s.name, "values") {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			before := s.config(t, s.text)
			text, err := s.edit(Edit{IssuerCrt: crt, IssuerKey: key})
			require.NoError(t, err)
			after := s.config(t, text)
			assert.Equal(t, endLike(before.IssuerCrtPEM, crt), after.IssuerCrtPEM)
			assert.Equal(t, before.TrustAnchorsPEM, after.TrustAnchorsPEM)
			n, err := parseText([]byte(text))
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSpace(key), strings.TrimSpace(valueAt(n, []string{"identity", "issuer", "tls", "keyPEM"}).Value))
		})
	}
	_, err := EditConfig(map[string]string{"values": "a: b\n"}, Edit{IssuerKey: key})
	assert.ErrorIs(t, err, ErrEdit, "linkerd-config must not get a key")
}

func TestTextsInEveryYAMLStyle(t *testing.T) {
	const n = "-----BEGIN CERTIFICATE-----\nTkVX\n-----END CERTIFICATE-----\n"
	const q = `"-----BEGIN CERTIFICATE-----\nTkVX\n-----END CERTIFICATE-----\n"`
	const qt = `"-----BEGIN CERTIFICATE-----\nTkVX\n-----END CERTIFICATE-----"`
	block := func(pad string) string {
		return pad + "-----BEGIN CERTIFICATE-----\n" + pad + "TkVX\n" + pad + "-----END CERTIFICATE-----\n"
	}
	const k = "identityTrustAnchorsPEM"
	for name, c := range map[string]struct{ in, want string }{
		"a block":                      {"a: 1 # x\n" + k + ": |\n  old\n  text\n\n# about b\nb: 2\n", "a: 1 # x\n" + k + ": |\n" + block("  ") + "\n# about b\nb: 2\n"},
		"a block without an end":       {k + ": |-\n  old\nb: 2\n", k + ": |-\n" + block("  ") + "b: 2\n"},
		"a block that keeps its end":   {k + ": |+\n  old\n\n\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"a folded block":               {k + ": >\n  old\n  text\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"an indented block":            {k + ": |\n      old\n      text\nb: 2\n", k + ": |\n" + block("      ") + "b: 2\n"},
		"an explicit indentation":      {k + ": |4\n      old\nb: 2\n", k + ": |4\n" + block("    ") + "b: 2\n"},
		"a comment on the header":      {k + ": | # roots\n  old\nb: 2\n", k + ": | # roots\n" + block("  ") + "b: 2\n"},
		"an empty block":               {k + ": |\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"a block at the end":           {"b: 2\n" + k + ": |\n  old", "b: 2\n" + k + ": |-\n" + strings.TrimSuffix(block("  "), "\n")},
		"a block with blank lines":     {k + ": |\n\n  old\n\n  text\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"double quotes":                {k + `: "old\n" # x` + "\nb: 2\n", k + ": " + q + " # x\nb: 2\n"},
		"double quotes over lines":     {k + ": \"old\n\n  te\\\"xt\"\nb: 2\n", k + ": " + qt + "\nb: 2\n"},
		"single quotes":                {k + ": 'it''s old'\nb: 2\n", k + ": " + qt + "\nb: 2\n"},
		"a placeholder":                {k + ": old # x\nb: 2\n", k + ": |- # x\n" + strings.TrimSuffix(block("  "), "\n") + "\nb: 2\n"},
		"an empty text":                {k + ": \"\"\nb: 2\n", k + ": " + q + "\nb: 2\n"},
		"nothing":                      {k + ":\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"nothing, with a comment":      {k + ": # none\nb: 2\n", k + ": | # none\n" + block("  ") + "b: 2\n"},
		"null":                         {k + ": null\nb: 2\n", k + ": |\n" + block("  ") + "b: 2\n"},
		"no such key":                  {"# head\nb: 2\n", "# head\n" + k + ": |\n" + block("  ") + "b: 2\n"},
		"no keys at all":               {"{}\n", `{"` + k + `":` + q + "}\n"},
		"an empty text altogether":     {"", k + ": |\n" + block("  ")},
		"a flow mapping":               {"{" + k + ": old, b: 2}\n", "{" + k + ": " + qt + ", b: 2}\n"},
		"JSON":                         {`{"b":2,"` + k + `":"old\n"}`, `{"b":2,"` + k + `":` + q + `}`},
		"JSON without the key":         {"{\n  \"b\": 2\n}\n", "{\n  \"" + k + "\":" + q + ",\n  \"b\": 2\n}\n"},
		"the last of two keys":         {k + ": a\n" + k + ": b\nc: 1\n", k + ": a\n" + k + ": |-\n" + block("  ") + "c: 1\n"},
		"below global":                 {"global:\n  proxy: {}\n  " + k + ": |\n    old\n  x: 1\n" + "grafana:\n  global:\n    " + k + ": |\n      other\n", "global:\n  proxy: {}\n  " + k + ": |\n" + block("    ") + "  x: 1\n" + "grafana:\n  global:\n    " + k + ": |\n      other\n"},
		"below global, none yet":       {"global:\n  proxy: {}\n  x: 1\n", "global:\n  " + k + ": |\n" + block("    ") + "  proxy: {}\n  x: 1\n"},
		"nested, but stored on top":    {"global:\n  linkerdVersion: x\n" + k + ": |\n  old\n", "global:\n  linkerdVersion: x\n" + k + ": |\n" + block("  ")},
		"somebody else's global":       {"global:\n  registry: x\n" + k + ": |\n  old\n", "global:\n  registry: x\n" + k + ": |\n" + block("  ")},
		"carriage returns":             {"a: 1\r\n" + k + ": |\r\n  old\r\nb: 2\r\n", "a: 1\r\n" + k + ": |\r\n" + strings.ReplaceAll(block("  "), "\n", "\r\n") + "b: 2\r\n"},
		"letters of other scripts":     {"ä: ö # ü\n\"é\": 1\n" + k + ": |\n  old\nb: ß\n", "ä: ö # ü\n\"é\": 1\n" + k + ": |\n" + block("  ") + "b: ß\n"},
		"the same text in another key": {"copy: |\n  old\n" + k + ": |\n  old\n", "copy: |\n  old\n" + k + ": |\n" + block("  ")},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := EditValues(c.in, Edit{Anchors: n})
			if c.want == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
			back, err := Values(got)
			require.NoError(t, err)
			assert.Equal(t, strings.TrimSpace(n), strings.TrimSpace(back.TrustAnchorsPEM))
		})
	}
}

func TestWhatCannotBeEditedInPlaceIsRefused(t *testing.T) {
	const k = "identityTrustAnchorsPEM"
	for name, in := range map[string]string{
		"an alias":               "x: &r |\n  old\n" + k + ": *r\n",
		"an anchor that is used": k + ": &r |\n  old\nx: *r\n",
		"a merge key":            "x: &m\n  " + k + ": old\n<<: *m\n",
		"a tag":                  k + ": !!str |\n  old\n",
		"plain text over lines":  k + ": old\n  text\n",
		"a list":                 k + ": [a]\n",
		"not a mapping":          "- a\n",
		"not YAML":               "a: b: c\n",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := EditValues(in, Edit{Anchors: "-----BEGIN CERTIFICATE-----\n"})
			assert.Error(t, err)
			assert.Empty(t, got)
		})
	}
	for _, anchors := range []string{" ", "\n", "a\tb", "ä", "\nx", " x"} {
		_, err := EditValues("a: 1\n", Edit{Anchors: anchors})
		assert.ErrorIs(t, err, ErrEdit, "%q", anchors)
	}
	_, err := EditConfig(map[string]string{"proxy": "{}"}, Edit{Anchors: "x"})
	assert.Error(t, err)
}

func TestEditConfigTouchesTheKeyThatCounts(t *testing.T) {
	data := map[string]string{"values": "identityTrustAnchorsPEM: |\n  a\n", "global": `{"identityContext":{"trustAnchorsPem":"b"}}`}
	got, err := EditConfig(data, Edit{Anchors: "new"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"values": "identityTrustAnchorsPEM: |\n  new\n"}, got)
	delete(data, "values")
	got, err = EditConfig(data, Edit{Anchors: "new"})
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"global": `{"identityContext":{"trustAnchorsPem":"new"}}`}, got)
	got, err = EditConfig(got, Edit{Anchors: "new"})
	require.NoError(t, err)
	assert.Nil(t, got)
	got, err = EditConfig(map[string]string{"global": `{"identity_context":{"trust_anchors_pem":"b\n","x":1}}`}, Edit{Anchors: "new"})
	require.NoError(t, err)
	assert.Equal(t, `{"identity_context":{"trust_anchors_pem":"new\n","x":1}}`, got["global"])
}

func TestEditIssuerTakesChainAndKeyTogether(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	got, err := EditIssuer(map[string][]byte{"crt.pem": b("a"), "key.pem": b("k\n")}, "", "chain\n", "key", "root")
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"crt.pem": b("chain"), "key.pem": b("key\n")}, got)
	got, err = EditIssuer(map[string][]byte{"tls.crt": b("a\n"), "tls.key": b("k\n"), "ca.crt": b("r\n")}, SchemeKubernetes, "chain", "key", "root")
	require.NoError(t, err)
	assert.Equal(t, map[string][]byte{"tls.crt": b("chain\n"), "tls.key": b("key\n"), "ca.crt": b("root\n")}, got)
	for _, c := range [][2]string{{"", "key"}, {"chain", " "}, {"chain\n-----BEGIN PRIVATE KEY-----\nQQ==\n-----END PRIVATE KEY-----\n", "key"}} {
		_, err = EditIssuer(nil, "", c[0], c[1], "")
		assert.ErrorIs(t, err, ErrEdit)
	}
}

func TestWorkloadsOfTheControlPlaneUpTo210(t *testing.T) {
	old, bundle := certs(t, "root"), certs(t, "root2", "root")
	encode := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	object := map[string]any{"kind": "Deployment", "spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"initContainers": []any{map[string]any{"name": "linkerd-init", "args": []any{"--incoming-proxy-port"}}},
		"containers": []any{
			map[string]any{"name": "identity", "args": []any{"identity", "-identity-trust-anchors-pem=" + encode(old), "-log-level=info"},
				"env": []any{map[string]any{"name": "LINKERD2_IDENTITY_TRUST_ANCHORS", "value": encode(old)}}},
			map[string]any{"name": "identity2", "command": []any{"x", "--identity-trust-anchors-pem", encode(old + "\n")}},
			map[string]any{"name": "linkerd-proxy", "env": []any{
				map[string]any{"name": ProxyAnchorsEnv, "value": "superseded"},
				map[string]any{"name": "OTHER", "value": "x"},
				map[string]any{"name": ProxyAnchorsEnv, "value": old},
				map[string]any{"name": "LINKERD2_X", "valueFrom": map[string]any{}},
			}},
			map[string]any{"name": "app", "env": []any{map[string]any{"name": ProxyAnchorsEnv, "value": "not a proxy's"}}},
		},
	}}}}
	raw, err := json.Marshal(object)
	require.NoError(t, err)
	got, err := EditWorkload(raw, bundle)
	require.NoError(t, err)
	const c = "/spec/template/spec/containers/"
	assert.Equal(t, []FieldEdit{
		{c + "0/env/0/value", encode(old), encode(bundle), old},
		{c + "0/args/1", "-identity-trust-anchors-pem=" + encode(old), "-identity-trust-anchors-pem=" + encode(bundle), old},
		{c + "1/command/2", encode(old + "\n"), encode(bundle), old + "\n"},
		{c + "2/env/2/value", old, bundle, old},
	}, got)
	got, err = EditWorkload(raw, old)
	require.NoError(t, err)
	assert.Len(t, got, 1, "only the one with a trailing blank line is mended")

	ref := strings.ReplaceAll(string(raw), `"value":`+string(mustJSON(old)), `"valueFrom":{"configMapKeyRef":{"name":"x"}}`)
	got, err = EditWorkload([]byte(ref), bundle)
	require.NoError(t, err)
	for _, e := range got {
		assert.NotContains(t, e.Pointer, "containers/2/env/2", "a reference stays one")
	}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Whatever the document, an edit either fails or changes the one value.
func TestEditingIsReadingBack(t *testing.T) {
	texts := storedTexts(t)
	rapid.Check(t, func(rt *rapid.T) {
		s := texts[rapid.IntRange(0, len(texts)-1).Draw(rt, "text")]
		if !s.global {
			// Move things about: other indentation, comments, line ends.
			lines := strings.Split(strings.TrimSuffix(s.text, "\n"), "\n")
			at := rapid.IntRange(0, len(lines)).Draw(rt, "comment at")
			lines = append(lines[:at:at], append([]string{rapid.SampledFrom([]string{"# a remark", "", "      # deep", "\t", "x-extra: 1"}).Draw(rt, "line")}, lines[at:]...)...)
			s.text = strings.Join(lines, rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(rt, "eol")) + rapid.SampledFrom([]string{"", "\n", "\n\n"}).Draw(rt, "end")
		}
		var pem strings.Builder
		for range rapid.IntRange(1, 4).Draw(rt, "certificates") {
			pem.WriteString("-----BEGIN CERTIFICATE-----\n" + rapid.StringMatching(`([A-Za-z0-9+/]{64}\n){0,3}[A-Za-z0-9+/]{4,60}=`).Draw(rt, "body") + "\n-----END CERTIFICATE-----\n")
		}
		key := valuesKey
		if s.global {
			key = globalKey
		}
		before, err := LinkerdConfig(map[string]string{key: s.text})
		if err != nil {
			return
		}
		text, err := s.edit(Edit{Anchors: pem.String()})
		if err != nil {
			return
		}
		after, err := LinkerdConfig(map[string]string{key: text})
		if err != nil {
			rt.Fatalf("does not read back: %v\n%s", err, text)
		}
		if want := endLike(before.TrustAnchorsPEM, pem.String()); after.TrustAnchorsPEM != want {
			rt.Fatalf("read back %q, not %q", after.TrustAnchorsPEM, want)
		}
		after.TrustAnchorsPEM = before.TrustAnchorsPEM
		if before != after {
			rt.Fatalf("more changed: %+v, %+v", before, after)
		}
	})
}

func FuzzEditValues(f *testing.F) {
	for _, s := range storedTexts(f) {
		f.Add(s.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		const pem = "-----BEGIN CERTIFICATE-----\nTkVX\n-----END CERTIFICATE-----\n"
		out, err := EditValues(text, Edit{Anchors: pem})
		if err != nil {
			return
		}
		c, err := Values(out)
		if err != nil || strings.TrimSpace(c.TrustAnchorsPEM) != strings.TrimSpace(pem) {
			t.Fatalf("%q gave %q: %+v %v", text, out, c, err)
		}
	})
}
