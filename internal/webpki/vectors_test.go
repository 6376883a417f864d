package webpki_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/webpki"
)

// The vectors hold verdicts of the real code; their README says how they were
// made. A case that vanishes from the files fails the tests.
const (
	chainCases  = 227
	bundleCases = 81

	// errorLimit is the length at which error texts were cut in bundles.json.
	errorLimit = 300
)

type proxyVerdict struct {
	Verdict, Stage, Error, Detail string
	SkippedAnchors                []struct {
		Index int
		Error string
	}
	SignatureChecks int
}

type chainCase struct {
	ID, Description, Usage string
	At                     time.Time
	DNSName                string
	Chain, Anchors         []string
	Proxy                  proxyVerdict
	ProxyOther             map[string]proxyVerdict
	NameMatch              *bool
	SeenAs                 *string

	chain, anchors [][]byte
}

func (c *chainCase) usage() webpki.Usage {
	if c.Usage == "client" {
		return webpki.Client
	}
	return webpki.Server
}

func vector(t testing.TB, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "testdata", "vectors", name))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, into))
}

var (
	loadChains sync.Once
	allChains  []*chainCase
)

func chains(t testing.TB) []*chainCase {
	t.Helper()
	loadChains.Do(func() {
		var file struct {
			Pools map[string][]string
			Cases []*chainCase
		}
		vector(t, "chains.json", &file)
		reference := regexp.MustCompile(`^@(.+)\[(\d+)(?::(\d+))?\]$`)
		for _, c := range file.Cases {
			for _, p := range c.Chain {
				c.chain = append(c.chain, der(t, p))
			}
			for _, p := range c.Anchors {
				m := reference.FindStringSubmatch(p)
				if m == nil {
					c.anchors = append(c.anchors, der(t, p))
					continue
				}
				from, err := strconv.Atoi(m[2])
				require.NoError(t, err)
				to := from + 1
				if m[3] != "" {
					to, err = strconv.Atoi(m[3])
					require.NoError(t, err)
				}
				for _, p := range file.Pools[m[1]][from:to] {
					c.anchors = append(c.anchors, der(t, p))
				}
			}
		}
		allChains = file.Cases
	})
	return allChains
}

func der(t testing.TB, text string) []byte {
	t.Helper()
	block, rest := pem.Decode([]byte(text))
	require.NotNil(t, block, "no PEM: %.60q", text)
	require.Empty(t, strings.TrimSpace(string(rest)))
	return block.Bytes
}

// judge does what the tool did that made the vectors.
func judge(rel webpki.Release, c *chainCase) (out proxyVerdict) {
	out.Verdict = "ok"
	refuse := func(stage webpki.Stage, err error) proxyVerdict {
		var e *webpki.Error
		if !errors.As(err, &e) {
			panic(err)
		}
		out.Verdict, out.Stage, out.Error, out.Detail = "error", string(stage), string(e.Kind), e.Detail
		return out
	}
	set, err := webpki.LoadAnchors(c.anchors, rel)
	for _, s := range set.Skipped {
		out.SkippedAnchors = append(out.SkippedAnchors, struct {
			Index int
			Error string
		}{s.Index, s.Err.Error()})
	}
	if err != nil {
		return refuse(webpki.StageAnchors, err)
	}
	res, err := webpki.Verify(rel, c.chain[0], c.chain[1:], set.Anchors, c.usage(), c.At)
	out.SignatureChecks = res.SignatureChecks
	if err != nil {
		var e *webpki.Error
		errors.As(err, &e)
		return refuse(e.Stage, err)
	}
	return out
}

func TestChainsAreJudgedAsByTheProxyOfLinkerd220(t *testing.T) {
	cases := chains(t)
	require.GreaterOrEqual(t, len(cases), chainCases, "cases are missing")
	for _, c := range cases {
		t.Run(c.ID, func(t *testing.T) {
			assert.Equal(t, c.Proxy, judge(webpki.Linkerd220, c), c.Description)
		})
	}
}

func TestChainsAreJudgedAsByOtherReleases(t *testing.T) {
	for name, rel := range map[string]webpki.Release{
		"linkerd-2.18": webpki.Linkerd218, "linkerd-2.19": webpki.Linkerd219, "webpki-main": webpki.WebpkiMain,
	} {
		for _, c := range chains(t) {
			t.Run(name+"/"+c.ID, func(t *testing.T) {
				got := judge(rel, c)
				want, differs := c.ProxyOther[name]
				if !differs {
					assert.Equal(t, c.Proxy.Verdict, got.Verdict, "%s: %s", c.Description, got.Error)
					assert.Equal(t, c.Proxy.SkippedAnchors, got.SkippedAnchors)
					return
				}
				assert.Equal(t, want.Verdict, got.Verdict, c.Description)
				assert.Equal(t, want.Error, got.Error, c.Description)
				assert.Equal(t, want.SkippedAnchors, got.SkippedAnchors)
			})
		}
	}
}

func TestLeavesAreSeenAsByTheProxy(t *testing.T) {
	for _, c := range chains(t) {
		if c.Proxy.Stage == string(webpki.StageLeaf) {
			continue // no proxy ever asks for the names of such a leaf
		}
		t.Run(c.ID, func(t *testing.T) {
			match := c.NameMatch == nil || *c.NameMatch
			assert.Equal(t, match, webpki.MatchesIdentity(c.chain[0], c.DNSName))
			seenAs := c.DNSName
			if c.SeenAs != nil {
				seenAs = *c.SeenAs
			}
			assert.Equal(t, seenAs, webpki.Identity(c.chain[0]))
		})
	}
}

type bundleCase struct {
	ID, Description string
	Input           []struct {
		Text, Base64 string
		Repeat       int
	}
	Readings struct {
		Proxy struct {
			Certs        []string
			Error, Stage string
			Skipped      []struct{ SHA256, Error string }
		}
	}
}

func (c *bundleCase) text(t testing.TB) []byte {
	t.Helper()
	var out []byte
	for _, part := range c.Input {
		b := []byte(part.Text)
		if part.Base64 != "" {
			var err error
			b, err = base64.StdEncoding.DecodeString(part.Base64)
			require.NoError(t, err)
		}
		for range max(part.Repeat, 1) {
			out = append(out, b...)
		}
	}
	return out
}

func bundles(t testing.TB) []*bundleCase {
	t.Helper()
	var file struct{ Cases []*bundleCase }
	vector(t, "bundles.json", &file)
	require.GreaterOrEqual(t, len(file.Cases), bundleCases, "cases are missing")
	return file.Cases
}

func TestBundlesAreReadAsByTheProxy(t *testing.T) {
	for _, c := range bundles(t) {
		t.Run(c.ID, func(t *testing.T) {
			text, want := c.text(t), c.Readings.Proxy
			sections, pemErr := webpki.ReadPEM(text)
			set, err := webpki.ReadTrustSet(text, webpki.Linkerd220)

			var certs []string
			for _, i := range set.Index {
				certs = append(certs, sum(sections[i].DER))
			}
			assert.Equal(t, want.Certs, nonNil(certs))

			var stage, message string
			var e *webpki.Error
			switch {
			case pemErr != nil:
				stage, message = "pem", pemErr.Error()
				assert.Equal(t, pemErr, err)
			case errors.As(err, &e):
				stage, message = string(e.Stage), e.Error()
				if e.Stage == webpki.StageAnchors {
					stage = "load"
				}
			}
			assert.Equal(t, want.Stage, stage)
			if len(want.Error) == errorLimit {
				message = message[:min(len(message), errorLimit)]
			}
			assert.Equal(t, want.Error, message)

			require.Len(t, set.Skipped, len(want.Skipped))
			for i, s := range set.Skipped {
				assert.Equal(t, want.Skipped[i].SHA256, sum(sections[s.Index].DER))
				assert.Equal(t, want.Skipped[i].Error, string(s.Err.Kind))
			}
		})
	}
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func sum(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}
