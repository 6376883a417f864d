package cli_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/testca"
)

func lab(t testing.TB) *testca.Lab {
	t.Helper()
	now, err := time.Parse(time.RFC3339, scriptNow)
	require.NoError(t, err)
	return testca.New(now)
}

// requireTame wants text that a terminal shows as it stands, a line a line.
func requireTame(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text))
	for _, r := range text {
		require.False(t, r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069, "%q", text)
	}
}

// What a manifest says about itself is shown, and steers nothing.
func TestNamesInManifestsAreTame(t *testing.T) {
	manifest := func(body string) string {
		return `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"linkerd-identity-trust-roots",` +
			`"namespace":"evil\u001b[2J\u001b[31m\nwindlass: all is well\u202egpj\u009b1m"},"data":{"ca-bundle.crt":` + body + `}}`
	}
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		require.NoError(t, err)
		return string(b)
	}
	root := lab(t).Root("root").PEM()
	for _, source := range []string{manifest(quoted(root)), manifest(quoted("junk")), manifest(quoted(root + "-----BEGIN CERTIFICATE-----\n\x1b[31m\n-----END CERTIFICATE-----\n"))} {
		for _, line := range []string{"show -", "show --read-as identity -", "show --read-as proxy -", "lint -", "merge -", "verify --anchors - --issuer -2"} {
			args := append([]string{"bundle"}, strings.Fields(strings.ReplaceAll(line, "-2", "testdata/certs/issuer.crt"))...)
			stdout, stderr, code := runThen(t, source, args...)
			requireTame(t, stdout)
			requireTame(t, stderr)
			for l := range strings.Lines(stdout + stderr) {
				require.False(t, strings.HasPrefix(l, "windlass: all is well"), "a line of its own")
			}
			stdout, stderr, again := runThen(t, source, append(args, "-o", "json")...)
			require.Equal(t, code, again, "the format does not change the answer")
			requireJSON(t, stdout, stderr, again)
		}
	}
}

// So are names of files, which anybody may have chosen.
func TestNamesOfFilesAreTame(t *testing.T) {
	t.Chdir(t.TempDir())
	name := "ca\x1b[31m\twith\nwindlass: all is well\u202e.crt"
	write(name, []byte(lab(t).Root("root").PEM()), 0o600)
	for _, args := range [][]string{
		{"bundle", "show", name}, {"bundle", "lint", name}, {"bundle", "diff", name, name}, {"bundle", "merge", name, "--out", name + "2"},
		{"root", "create", "--name", "x", "--out-cert", name + "3", "--out-key", name + "4"},
		{"root", "reissue", "--cert", name, "--key", name, "--out-cert", "x"}, {"bundle", "show", "--read-as", "proxy", name},
	} {
		stdout, stderr, _ := runThen(t, "", args...)
		require.NotEmpty(t, stdout+stderr)
		requireTame(t, stdout)
		requireTame(t, stderr)
	}
}

// requireJSON wants what -o json promises: one document, on standard output for
// a result and on standard error for an error, and nothing beside it.
func requireJSON(t *testing.T, stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	var v any
	switch code {
	case cli.ExitFailed, cli.ExitUsage:
		require.Empty(t, stdout)
		require.NoError(t, json.Unmarshal([]byte(stderr), &v), stderr)
		require.EqualValues(t, code, v.(map[string]any)["code"])
		require.NotEmpty(t, v.(map[string]any)["error"])
	default:
		require.Empty(t, stderr)
		require.NoError(t, json.Unmarshal([]byte(stdout), &v), stdout)
	}
}

// Whatever is in a file name, on a command line or in a certificate: -o json is
// JSON.
func TestJSONIsAlwaysJSON(t *testing.T) {
	certs := "testdata/certs/"
	for _, args := range [][]string{
		{"bundle", "show", certs + "hostile.crt"},
		{"bundle", "show", certs + "unicode.crt", certs + "expired.crt"},
		{"bundle", "lint", certs + "hostile.crt"},
		{"bundle", "merge", certs + "hostile.crt", certs + "old.crt", certs + "old-again.crt", "--compact"},
		{"bundle", "diff", certs + "hostile.crt", certs + "old.crt"},
		{"bundle", "verify", "--anchors", certs + "hostile.crt", "--issuer", certs + "hostile.crt"},
		{"bundle", "verify", "--anchors", certs + "old.crt", "--chain", certs + "leaf.crt", "--identity", "\x1b[31m\xff"},
		{"bundle", "show", "no\x1b[31m\nsuch\xfffile"},
		{"bundle", "show"}, {"bundl"}, {"bundle", "frob\n"}, {"--\x1b", "x"}, {"bundle", "show", "--linkerd", "\xff", "x"},
		{"bundle", "verify", "--anchors", "x", "--issuer", "y", "--at", "\n"},
		{"root", "create", "--name", strings.Repeat("x", 1<<16), "--out-cert", "no/x", "--out-key", "no/y"},
		{"version"}, {"version", "x"}, {"help", "frob"}, {"completion", "frob"},
	} {
		stdout, stderr, code := runThen(t, "", append([]string{"-o", "json"}, args...)...)
		requireJSON(t, stdout, stderr, code)
		if args[0] != "--\x1b" {
			stdout, stderr, code = runThen(t, "", append(args, "-o", "json")...)
			requireJSON(t, stdout, stderr, code)
		}
		stdout, stderr, _ = runThen(t, "", args...)
		requireTame(t, stdout)
		requireTame(t, stderr)
	}
}

// A serial number of any size is decimal text, in JSON and YAML alike.
func TestHugeSerialsStayExact(t *testing.T) {
	serial := new(big.Int).Lsh(big.NewInt(1), 158) // 20 octets, the most that RFC 5280 allows
	root := lab(t).Root("root", testca.Template(func(c *x509.Certificate) { c.SerialNumber = serial }))
	stdout, _, code := runThen(t, root.PEM(), "bundle", "show", "-", "-o", "json")
	require.Equal(t, cli.ExitOK, code)
	require.Contains(t, stdout, `"serial": "`+root.SerialNumber.String()+`"`)
	stdout, _, code = runThen(t, root.PEM(), "bundle", "show", "-", "-o", "yaml")
	require.Equal(t, cli.ExitOK, code)
	require.Contains(t, stdout, `serial: "`+root.SerialNumber.String()+`"`)
}

// Ten thousand anchors take no more than patience: none is lost, and nothing
// grows with their square.
func TestTenThousandAnchors(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	const count = 10_000
	l, key := lab(t), testca.Key("P-256")
	var a, b bytes.Buffer
	for i := range count {
		a.WriteString(l.Root(fmt.Sprint("root ", i), testca.WithKey(key)).PEM())
	}
	b.WriteString(l.Root("another").PEM())
	many := writeTemp(t, "many.pem", a.Bytes())
	one := writeTemp(t, "one.pem", b.Bytes())

	var out struct{ Anchors, OnlyA, OnlyB []struct{} }
	stdout, _, code := runThen(t, "", "bundle", "merge", many, one, "-o", "json")
	require.Equal(t, cli.ExitOK, code)
	require.NoError(t, json.Unmarshal([]byte(stdout), &out))
	require.Len(t, out.Anchors, count+1)
	stdout, _, code = runThen(t, "", "bundle", "diff", many, one, "-o", "json")
	require.Equal(t, cli.ExitNo, code)
	require.NoError(t, json.Unmarshal([]byte(stdout), &out))
	require.Len(t, out.OnlyA, count)
	require.Len(t, out.OnlyB, 1)
	stdout, _, code = runThen(t, "", "bundle", "diff", many, one)
	require.Equal(t, cli.ExitNo, code)
	require.Equal(t, count+1, strings.Count(stdout, "\n"))
	_, _, code = runThen(t, "", "bundle", "lint", many)
	require.Equal(t, cli.ExitNo, code, "it does not fit a proxy's environment")
}

// YAML made to exhaust its reader ends in an error that says where.
func TestYAMLBombsEnd(t *testing.T) {
	var aliases strings.Builder
	aliases.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: linkerd-config}\ndata:\n  a0: &a0 [x]\n")
	for i := range 30 {
		fmt.Fprintf(&aliases, "  a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 10), ","))
	}
	for name, source := range map[string]string{
		"aliases":   aliases.String(),
		"itself":    "apiVersion: v1\nkind: List\nitems: &a [*a]\n",
		"nesting":   strings.Repeat("[", 100_000),
		"lists":     strings.Repeat(`{"kind":"List","items":[`, 1000),
		"documents": strings.Repeat("---\n", 100_000),
		"keys":      "kind: Pod\n" + strings.Repeat("a: 1\n", 50_000),
	} {
		stdout, stderr, code := runThen(t, source, "bundle", "show", "-")
		require.Equal(t, cli.ExitFailed, code, name)
		requireClear(t, stdout, stderr, "standard input")
	}
}

// Exit code 2 is for command lines that are wrong, whatever the world is like.
func TestTheWorldIsNoUsageError(t *testing.T) {
	newPKI(t)
	for _, line := range []string{
		"bundle show unknown command",
		"bundle show nope", "root create --name x --out-cert nope/x --out-key y", "root create --name x --out-cert ca.crt --out-key y",
		"root reissue --cert leaf.crt --key leaf.key --out-cert y", "issuer sign --csr ca.key --root ca.crt --root-key ca.key --out-cert y",
		"bundle show context:unknown", "root reissue --cert ca.crt --key awskms:x --out-cert y",
	} {
		_, stderr, code := runThen(t, "", strings.Fields(line)...)
		require.Equal(t, cli.ExitFailed, code, "%s: %s", line, stderr)
	}
}
