package issuer_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/issuer"
)

// Held against the verdicts of the real verifiers: no chain that
// linkerd-identity refuses, or could not sign with, passes CheckIssuer. The
// other way round it may be stricter, and the test logs where.
func TestCheckIssuerNeverPassesWhatLinkerdRefuses(t *testing.T) {
	text, err := os.ReadFile("../internal/testdata/vectors/chains.json")
	require.NoError(t, err)
	type verdict struct{ Verdict, Stage, Error string }
	var file struct {
		Pools map[string][]string
		Cases []struct {
			ID             string
			Category       string
			At             time.Time
			Chain, Anchors []string
			Proxy          verdict
			Identity       verdict
			IdentitySigns  string
		}
	}
	require.NoError(t, json.Unmarshal(text, &file))
	reference := regexp.MustCompile(`^@([^\[]+)\[(\d+)(?::(\d+))?\]$`)

	judged, refusedBoth, stricter := 0, 0, map[string]string{}
	for _, c := range file.Cases {
		if c.Identity.Verdict == "none" || c.Identity.Stage == "anchors" || c.Identity.Stage == "read" {
			continue // nothing to judge, or a matter of reading text
		}
		var anchors []string
		for _, a := range c.Anchors {
			if m := reference.FindStringSubmatch(a); m != nil {
				from, _ := strconv.Atoi(m[2])
				to := from
				if m[3] != "" {
					to, _ = strconv.Atoi(m[3])
				}
				anchors = append(anchors, file.Pools[m[1]][from:to+1]...)
			} else {
				anchors = append(anchors, a)
			}
		}
		chain, ok1 := parseAll(c.Chain[1:])
		roots, ok2 := parseAll(anchors)
		if !ok1 || !ok2 {
			continue
		}
		judged++
		_, err := issuer.CheckIssuer(chain, roots, c.At, issuer.CheckOptions{AllowUnusual: true})
		switch {
		case c.Identity.Verdict == "error":
			refusedBoth++
			require.Error(t, err, "%s: identity says %s", c.ID, c.Identity.Error)
		case c.IdentitySigns != "":
			require.Error(t, err, "%s: identity cannot sign: %s", c.ID, c.IdentitySigns)
		case err != nil && c.Proxy.Verdict == "ok":
			stricter[c.ID] = err.Error()
		}
	}
	require.Greater(t, judged, 150)
	t.Logf("%d judged, %d refused by identity, stricter than both in %d:", judged, refusedBoth, len(stricter))
	for id, why := range stricter {
		t.Logf("  %s: %s", id, why)
	}
}

func parseAll(texts []string) ([]*x509.Certificate, bool) {
	var out []*x509.Certificate
	for _, text := range texts {
		block, _ := pem.Decode([]byte(strings.TrimSpace(text) + "\n"))
		if block == nil {
			return nil, false
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, false
		}
		out = append(out, c)
	}
	return out, true
}
