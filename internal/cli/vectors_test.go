package cli_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
)

// These tests hold the commands, as users run them, against the verdicts of
// the real verifiers; see internal/testdata/vectors/README.md.

// run carries out a command line and returns what it left.
func run(t testing.TB, stdin string, args ...string) (stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), args, cli.Env{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs,
		Getenv: os.Getenv, Now: time.Now,
	})
	return out.String(), errs.String(), code
}

func loadVectors(t testing.TB, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, into))
}

func writeTemp(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, data, 0o600))
	return path
}

type realVerdict struct{ Verdict, Stage, Error string }

type chainVector struct {
	ID, Usage, At, DNSName string
	Chain, Anchors         []string
	Proxy, Identity        realVerdict
	ProxyOther             map[string]realVerdict
	NameMatch              *bool
}

// expand resolves references into the pools: @name[3] and @name[0:98].
func expand(t testing.TB, list []string, pools map[string][]string) string {
	t.Helper()
	ref := regexp.MustCompile(`^@([^\[]+)\[(\d+)(?::(\d+))?\]$`)
	var b strings.Builder
	for _, e := range list {
		m := ref.FindStringSubmatch(e)
		if m == nil {
			b.WriteString(e)
			if !strings.HasSuffix(e, "\n") {
				b.WriteString("\n")
			}
			continue
		}
		from, err := strconv.Atoi(m[2])
		require.NoError(t, err)
		to := from + 1
		if m[3] != "" {
			to, err = strconv.Atoi(m[3])
			require.NoError(t, err)
		}
		b.WriteString(expand(t, pools[m[1]][from:to], nil))
	}
	return b.String()
}

func TestVerifyAgreesWithTheRealVerifiers(t *testing.T) {
	var set struct {
		Pools map[string][]string
		Cases []chainVector
	}
	loadVectors(t, "chains.json", &set)
	require.GreaterOrEqual(t, len(set.Cases), 227, "cases are missing")
	for _, c := range set.Cases {
		t.Run(c.ID, func(t *testing.T) {
			chain := writeTemp(t, "chain.pem", []byte(expand(t, c.Chain, set.Pools)))
			anchors := writeTemp(t, "anchors.pem", []byte(expand(t, c.Anchors, set.Pools)))
			judge := func(args ...string) (verdict string, reason string) {
				stdout, stderr, code := run(t, "", append([]string{"bundle", "verify", "-o", "json",
					"--anchors", anchors, "--chain", chain, "--usage", c.Usage, "--at", c.At}, args...)...)
				var out struct {
					Verdicts []struct {
						OK     bool
						Reason string
					}
				}
				require.NoError(t, json.Unmarshal([]byte(stdout), &out), "%s%s", stdout, stderr)
				require.Len(t, out.Verdicts, 1)
				require.NotEmpty(t, out.Verdicts[0].Reason)
				if out.Verdicts[0].OK {
					require.Equal(t, cli.ExitOK, code)
					return "ok", out.Verdicts[0].Reason
				}
				require.Equal(t, cli.ExitNo, code, stderr)
				return "error", out.Verdicts[0].Reason
			}
			same := func(real realVerdict, args ...string) {
				t.Helper()
				got, reason := judge(args...)
				require.Equal(t, real.Verdict, got, "%v: we say %s; the real verifier says %s", args, reason, real.Error)
			}
			same(c.Proxy, "--rules", "proxy", "--linkerd", "2.20")
			sound := c.Proxy.Verdict == "ok"
			for _, release := range []string{"2.18", "2.19"} {
				real, differs := c.ProxyOther["linkerd-"+release]
				if !differs {
					real = c.Proxy
				}
				same(real, "--rules", "proxy", "--linkerd", release)
				sound = sound && real.Verdict == "ok"
			}
			all := realVerdict{Verdict: "error"}
			if sound {
				all.Verdict = "ok"
			}
			same(all, "--rules", "proxy")
			named := all
			if c.NameMatch != nil && !*c.NameMatch {
				named.Verdict = "error"
			}
			same(named, "--rules", "proxy", "--identity", c.DNSName)
			if c.Identity.Verdict == "none" {
				_, reason := judge("--rules", "identity")
				require.Contains(t, reason, "nothing to judge")
				return
			}
			same(c.Identity, "--rules", "identity")
		})
	}
}

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

func textVectors(t testing.TB) []textVector {
	t.Helper()
	var set struct{ Cases []textVector }
	loadVectors(t, "bundles.json", &set)
	require.GreaterOrEqual(t, len(set.Cases), 81, "cases are missing")
	return set.Cases
}

func TestShowReadsTextAsTheRealReadersDo(t *testing.T) {
	for _, c := range textVectors(t) {
		t.Run(c.ID, func(t *testing.T) {
			file := writeTemp(t, "bundle.pem", c.text(t))
			for as, reader := range map[string]string{"identity": "linkerdPool", "proxy": "proxy"} {
				real := c.Readings[reader]
				stdout, stderr, code := run(t, "", "bundle", "show", "--read-as", as, "-o", "json", file)
				var out struct {
					Anchors []struct{ SHA256 string }
				}
				require.NoError(t, json.Unmarshal([]byte(stdout), &out), "%s%s", stdout, stderr)
				got := []string{}
				for _, a := range out.Anchors {
					got = append(got, a.SHA256)
				}
				if real.Error != "" {
					require.Equal(t, cli.ExitNo, code, "%s: the real reader fails: %s", as, real.Error)
					require.Empty(t, got)
					continue
				}
				require.Equal(t, cli.ExitOK, code, "%s: %s", as, stdout)
				require.Equal(t, real.Certs, got, as)
			}
		})
	}
}

// A merge either refuses a text and says where, or loses nothing of it: every
// certificate that any reader finds is in the result (ours also reads blocks
// that others lose, END and BEGIN glued together), and Linkerd's
// own readers take all of them back.
func TestMergeLosesNothingOfAnyText(t *testing.T) {
	merged := 0
	for _, c := range textVectors(t) {
		t.Run(c.ID, func(t *testing.T) {
			file := writeTemp(t, "bundle.pem", c.text(t))
			stdout, stderr, code := run(t, "", "bundle", "merge", file)
			if code != cli.ExitOK {
				require.Equal(t, cli.ExitFailed, code)
				require.Empty(t, stdout)
				require.Contains(t, stderr, "windlass: read "+file)
				return
			}
			merged++
			want := map[string]bool{}
			for _, reader := range []string{"goPemLoop", "linkerdDecode", "proxy"} {
				for _, sha := range c.Readings[reader].Certs {
					want[sha] = true
				}
				for _, s := range c.Readings[reader].Skipped {
					want[s.SHA256] = true
				}
			}
			back := writeTemp(t, "merged.pem", []byte(stdout))
			for _, as := range []string{"identity", "proxy"} {
				again, _, code := run(t, "", "bundle", "show", "--read-as", as, "-o", "json", back)
				require.Equal(t, cli.ExitOK, code, as)
				var out struct{ Anchors []struct{ SHA256 string } }
				require.NoError(t, json.Unmarshal([]byte(again), &out))
				got := map[string]bool{}
				for _, a := range out.Anchors {
					got[a.SHA256] = true
				}
				require.Subset(t, got, want, "read back as %s", as)
			}
		})
	}
	require.Greater(t, merged, 20, "hardly any text was merged")
}
