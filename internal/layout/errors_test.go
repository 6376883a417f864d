package layout

import (
	"encoding/base64"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadSaysWhereItIsBroken(t *testing.T) {
	const good = "kind: ConfigMap\nmetadata: {name: a}\n"
	secret := func(name, line string) string {
		return "kind: Secret\nmetadata:\n  name: " + name + "\ndata:\n  " + line + "\n"
	}
	for name, c := range map[string]struct {
		in   string
		doc  int
		line int
		says string
	}{
		"a document that is not YAML": {good + "---\nkind: x\n  a: b\n", 2, 5, "mapping values are not allowed"},
		"a tab as indentation":        {good + "---\n" + good + "---\nkind:\n\ta: b\n", 3, 8, "cannot start any token"},
		"a key at the wrong depth":    {"a:\n  b:\n    c: 1\n   d: 2\n", 1, 4, "did not find expected key"},
		"a list that is not closed":   {good + "---\na:\n  b: [1, 2\nc: 3\n", 2, 6, "did not find expected ',' or ']'"},
		"a quote that is not closed":  {good + "---\na: 1\nb: \"x\n", 2, 5, "unexpected end of stream"},
		"an unknown alias":            {"a: 1\nb: *SECRETNAME\n", 1, 2, "unknown anchor"},
		"a control character":         {"a: 1\nb: \x01\n", 1, 2, "control characters are not allowed"},
		"bytes that are not UTF-8":    {"a: 1\nb: c\nc: \xff\n", 1, 3, "UTF-8"},
		"broken JSON":                 {"{\"a\": 1,\n\"b\": ]\n", 1, 2, "invalid character"},
		"JSON that ends early":        {"{\"kind\": \"List\",\n\"items\": [\n\n", 1, 2, "unexpected end of JSON"},
		"JSON, then something else":   {"{\"a\": 1}\n{\"b\": 1}\nx\n", 1, 3, "invalid character"},
		"a second document unmarked":  {"{a: 1}\n{b: 1}\n", 1, 2, "did not find expected <document start>"},
		"text in place of an object":  {good + "---\nhello\n", 2, 4, "neither an object nor a list"},
		"text in a list":              {"kind: List\nitems:\n- hello\n", 1, 3, "neither an object nor a list"},
		"a certificate not in base64": {good + "---\n" + secret("linkerd-identity-issuer", "crt.pem: '%%%'"), 2, 8, `Secret linkerd-identity-issuer data["crt.pem"]: not valid base64`},
		"a cert-manager one neither":  {secret("x", "tls.crt: a b"), 1, 5, `data["tls.crt"]: not valid base64`},
		"a certificate that is a map": {secret("x", "tls.crt: {}"), 1, 5, `data["tls.crt"]: not a text`},
		"trust roots that are a list": {"kind: ConfigMap\nmetadata: {name: linkerd-identity-trust-roots}\ndata:\n  ca-bundle.crt: []\n", 1, 4, "not a text"},
		"values that are not YAML":    {"kind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  values: |\n    a: b\n    c: d: e\n", 1, 6, `data["values"]: mapping values`},
		"values that are a list":      {"kind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  values: |\n    - b\n", 1, 5, `data["values"]: not a mapping`},
		"global that is not JSON":     {"kind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  global: |\n    {\"a\": 1,\n    b: 2}\n", 1, 6, `data["global"]: not valid JSON`},
		"overrides that are no YAML": {secret("linkerd-config-overrides", "linkerd-config-overrides: "+base64.StdEncoding.EncodeToString([]byte("a: 1\nb: c: d\n"))),
			1, 5, `line 2: mapping values are not allowed in this context (of the decoded text)`},
		"identity's flag": {"kind: Pod\nspec:\n  containers:\n  - name: identity\n    args:\n    - -identity-trust-anchors-pem=%%\n", 1, 6,
			`spec.containers["identity"].args["-identity-trust-anchors-pem"]: not valid base64`},
		"nesting without end":  {strings.Repeat("[", 100_000), 1, 1, "deep"},
		"lists without end":    {strings.Repeat("- ", 100_000), 1, 1, "depth"},
		"a separator repeated": {"---\n---\nhello\n", 2, 3, "neither an object"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Read([]byte(c.in))
			require.Error(t, err)
			assert.Nil(t, m)
			var e *Error
			require.True(t, errors.As(err, &e))
			assert.Equal(t, c.doc, e.Document, err)
			assert.Equal(t, c.line, e.Line, err)
			assert.Contains(t, err.Error(), c.says)
			assert.NotContains(t, err.Error(), "SECRET")
		})
	}
}

func TestReadPassesOverWhatHoldsNoCertificates(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":              "",
		"comments":             "# a\n\n# b\n",
		"empty documents":      "---\n---\n# x\n---\n...\n",
		"directives":           "%YAML 1.1\n# c\n---\nkind: Namespace\n...\n%YAML 1.1\n---\nkind: Namespace\n",
		"an empty List":        "kind: List\nitems: []\n",
		"another kind":         "kind: Service\nspec:\n  containers: {a: b}\n",
		"another's ConfigMap":  "kind: ConfigMap\nmetadata: {name: x}\ndata:\n  ca-bundle.crt: x\n",
		"another's Secret":     "kind: Secret\nmetadata: {name: x}\ndata:\n  password: '%%%'\n",
		"no kind":              "a: b\n",
		"no data":              "kind: Secret\nmetadata: {name: cacerts}\n",
		"a Secret of a CRD":    "apiVersion: example.org/v1\nkind: Secret\nmetadata: {name: x}\ndata: {tls.crt: '%%%'}\n",
		"an empty override":    "kind: Secret\nmetadata: {name: linkerd-config-overrides}\ndata: {linkerd-config-overrides: e30K}\n",
		"a private key alone":  "kind: Secret\nmetadata: {name: x}\ndata: {key.pem: '%%%', tls.key: '%%%'}\n",
		"a schema":             "kind: CustomResourceDefinition\nspec:\n  properties:\n    containers: {type: array}\n",
		"null":                 "null\n",
		"a mapping with cycle": "kind: Service\nmetadata: &a\n  b: *a\n",
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Read([]byte(in))
			require.NoError(t, err)
			assert.Empty(t, m.Texts)
		})
	}
}

func TestReadIsBounded(t *testing.T) {
	const pod = "{kind: Pod, spec: {containers: [{name: linkerd-proxy, env: [{name: LINKERD2_PROXY_IDENTITY_TRUST_ANCHORS, value: x}]}]}}"
	grow := func(first, open, shut string, levels int) string {
		var b strings.Builder
		b.WriteString("a0: &a0 " + first + "\n")
		for i := 1; i <= levels; i++ {
			name := "a" + string(rune('0'+i))
			up := "*a" + string(rune('0'+i-1)) + ", "
			b.WriteString(name + ": &" + name + " " + open + strings.Repeat(up, 40) + shut + "\n")
		}
		return b.String()
	}
	for name, in := range map[string]string{
		"Lists of aliases":      "kind: List\n" + grow(pod, "{kind: List, items: [", "]}", 6) + "items: [*a6]\n",
		"aliases below spec":    "kind: Rollout\nspec:\n  " + strings.ReplaceAll(strings.TrimSpace(grow("{x: [y]}", "[", "]", 9)), "\n", "\n  ") + "\n",
		"merges of merges":      grow("{x: y}", "{<<: [", "]}", 9) + "<<: *a9\n",
		"a cycle that branches": "kind: Rollout\nspec: &a\n  b: [*a, *a, *a]\n",
		"one object, endlessly": "kind: List\nitems:\n- &a " + pod + "\n" + strings.Repeat("- *a\n", 100_000),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Read([]byte(in))
			require.Error(t, err)
			assert.Contains(t, err.Error(), "too many aliases")
		})
	}
}

// A key in a certificate's place must not come out, and must not change what
// readers of the text make of it.
func TestPrivateKeysDoNotComeOut(t *testing.T) {
	cert, err := os.ReadFile("testdata/certs/root.pem")
	require.NoError(t, err)
	const body = "U0VDUkVULWtleS1ib2R5LTEyMzQ1Njc4OTAr/w=="
	label := func(kind string) (string, string) {
		return "-----BEGIN " + kind + "-----\n", "-----END " + kind + "-----\n"
	}
	for _, kind := range []string{"PRIVATE" + " KEY", "EC PRIVATE" + " KEY", "ENCRYPTED PRIVATE" + " KEY", "PGP PRIVATE" + " KEY BLOCK"} {
		begin, end := label(kind)
		for name, text := range map[string]string{
			"after a certificate":   string(cert) + begin + body + "\n" + end,
			"before a certificate":  begin + body + "\n" + end + string(cert),
			"without an end":        string(cert) + begin + body + "\n" + body,
			"on one line":           strings.ReplaceAll(begin+body+end, "\n", " "),
			"with headers":          begin + "Proc-Type: 4,ENCRYPTED\n\n" + body + "\n" + end,
			"with carriage returns": strings.ReplaceAll(begin+body+"\n"+end, "\n", "\r\n"),
		} {
			t.Run(kind+" "+name, func(t *testing.T) {
				in := "kind: Secret\nmetadata: {name: linkerd-identity-issuer}\ndata:\n  tls.crt: " +
					base64.StdEncoding.EncodeToString([]byte(text)) + "\n"
				m, err := Read([]byte(in))
				require.NoError(t, err)
				require.Len(t, m.Texts, 1)
				got := m.Texts[0]
				assert.True(t, got.Redacted)
				assert.NotContains(t, got.PEM, body[:10])
				assert.Len(t, got.PEM, len(text))
				assert.Equal(t, strings.Count(text, "\n"), strings.Count(got.PEM, "\n"))
				if strings.Contains(text, string(cert)) {
					assert.Contains(t, got.PEM, string(cert))
				}
				var codes []Code
				for _, n := range m.Notes {
					codes = append(codes, n.Code)
				}
				assert.Contains(t, codes, NotePrivateKey)

				issuer, err := IssuerSecret(map[string][]byte{"tls.crt": []byte(text)}, "")
				require.NoError(t, err)
				assert.Equal(t, got.PEM, issuer.ChainPEM)
			})
		}
	}
}
