package cli_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/internal/fakeapi"
)

const (
	layouts   = "../layout/testdata"
	pathConf  = "/api/v1/namespaces/linkerd/configmaps/linkerd-config"
	pathRoots = "/api/v1/namespaces/linkerd/configmaps/linkerd-identity-trust-roots"
	pathOver  = "/api/v1/namespaces/linkerd/secrets/linkerd-config-overrides"
)

// Every layout, as it was installed and with each copy of the anchors wrong in
// its turn: what is found depends on what the copy counts for.
func TestEveryLayoutIsChecked(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(layouts, name))
		require.NoError(t, err)
		return string(b)
	}
	root, other := read("certs/root.pem"), read("certs/root2.pem")
	for name, want := range map[string]struct {
		well   []string
		config []string // with another root in linkerd-config
		roots  []string // in linkerd-identity-trust-roots; nil where there is none
		over   []string // in the overrides; nil where there are none
	}{
		"linkerd-2.6.1": {nil,
			[]string{"error issuer-untrusted", "error peer-untrusted", "warning copies-disagree"}, nil, nil},
		"linkerd-2.8.1-helm": {nil,
			[]string{"error issuer-untrusted", "error peer-untrusted", "warning copies-disagree"}, nil, nil},
		"linkerd-2.9.5": {nil,
			[]string{"error peer-untrusted", "warning copies-disagree"}, nil, []string{"warning copies-disagree"}},
		"linkerd-2.11.5": {nil,
			[]string{"info copies-disagree"}, []string{"error issuer-untrusted", "error peer-untrusted", "info copies-disagree"}, nil},
		"linkerd-2.14.10": {nil,
			[]string{"info copies-disagree"}, []string{"error issuer-untrusted", "error peer-untrusted", "info copies-disagree"}, nil},
		"linkerd-2.18": {nil,
			[]string{"info copies-disagree"}, []string{"error issuer-untrusted", "error peer-untrusted", "info copies-disagree", "warning copies-disagree"}, []string{"warning copies-disagree"}},
		"linkerd-external-ca": {[]string{"error missing-copy", "error no-anchors", "error unreadable"}, nil, nil, nil}, // its values say no lifetime
	} {
		check := func(t *testing.T, edit func(*fakeapi.API)) []string {
			now, err := time.Parse(time.RFC3339, scriptNow)
			require.NoError(t, err)
			a := fakeapi.Start(t, "east", now)
			a.AddRelease(read(name + ".yaml"))
			if edit != nil {
				edit(a)
			}
			return codesOf(t, a)
		}
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, want.well, check(t, nil), "as installed")
			replaceIn := func(path string) func(*fakeapi.API) {
				return func(a *fakeapi.API) { a.Edit(path, func(data map[string]any) { swapAnchors(t, data, root, other) }) }
			}
			if want.config != nil {
				assert.Equal(t, want.config, check(t, replaceIn(pathConf)), "linkerd-config")
			}
			if want.roots != nil {
				assert.Equal(t, want.roots, check(t, replaceIn(pathRoots)), "linkerd-identity-trust-roots")
			}
			if want.over != nil {
				assert.Equal(t, want.over, check(t, replaceIn(pathOver)), "linkerd-config-overrides")
			}
		})
	}
}

// swapAnchors replaces a certificate wherever it stands in the data of an object:
// as it is, indented, in JSON, or in a Secret's base64.
func swapAnchors(t *testing.T, data map[string]any, from, to string) {
	t.Helper()
	lines := func(s string) []string { return strings.Split(strings.TrimSpace(s), "\n") }
	count := 0
	for k, v := range data {
		text := v.(string)
		raw, err := base64.StdEncoding.DecodeString(text)
		encoded := err == nil && bytes.Contains(raw, []byte("BEGIN CERTIFICATE"))
		if encoded {
			text = string(raw)
		}
		for _, join := range []string{"\n", `\n`, "\n  ", "\n    ", "\n      ", "\n        "} {
			old := strings.Join(lines(from), join)
			count += strings.Count(text, old)
			text = strings.ReplaceAll(text, old, strings.Join(lines(to), join))
		}
		if encoded {
			text = base64.StdEncoding.EncodeToString([]byte(text))
		}
		data[k] = text
	}
	require.NotZero(t, count, "the fixture does not hold the certificate")
}

// codesOf checks one cluster and returns what was found, "level code".
func codesOf(t *testing.T, a *fakeapi.API) (out []string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	write(file, []byte(fakeapi.Kubeconfig(a)), 0o600)
	stdout, stderr, code := runThen(t, "", "check", "--kubeconfig", file, "-o", "json")
	var doc struct {
		Findings []struct{ Level, Code string }
	}
	require.NoError(t, json.Unmarshal([]byte(stdout), &doc), stderr)
	unwell := false
	for _, f := range doc.Findings {
		out = append(out, f.Level+" "+f.Code)
		unwell = unwell || f.Level == "error"
	}
	assert.Equal(t, unwell, code == cli.ExitNo, stdout)
	slices.Sort(out)
	return slices.Compact(out)
}
