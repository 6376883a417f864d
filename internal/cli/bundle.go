package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

func (a *app) bundleCmd() *cobra.Command {
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Read, merge, compare, lint and verify trust bundles",
		Long:  "Read, merge, compare, lint and verify trust bundles.\n\n" + sourceHelp,
	}
	c.AddCommand(a.bundleShowCmd(), a.bundleMergeCmd(), a.bundleDiffCmd(), a.bundleLintCmd(), a.bundleVerifyCmd())
	return c
}

// anchorTable writes one row a certificate.
func (a *app) anchorTable(w io.Writer, certs []*bundle.Certificate, from func(*bundle.Certificate) []string) error {
	now := a.Now()
	var rows []row
	for _, c := range certs {
		_, end := c.Validity()
		r := row{cells: []string{c.Subject(), c.Key(), until(end, now), c.Fingerprint().String()[:16], places(from(c))}}
		switch {
		case end.Before(now):
			r.paint = a.outStyle().bad
		case end.Before(now.Add(bundle.DefaultExpiresSoon)):
			r.paint = a.outStyle().warn
		}
		rows = append(rows, r)
	}
	return table(w, []string{"SUBJECT", "KEY", "VALID UNTIL", "SHA-256", "FROM"}, rows)
}

func places(from []string) string {
	switch len(from) {
	case 0:
		return ""
	case 1:
		return from[0]
	}
	return fmt.Sprintf("%s and %d more", from[0], len(from)-1)
}

func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %ss", n, one)
}

func aboveInfo(findings []bundle.Finding) (out []bundle.Finding) {
	for _, f := range findings {
		if f.Level != bundle.LevelInfo {
			out = append(out, f)
		}
	}
	return out
}

// condense says once for people what would be said of every anchor.
func condense(findings []bundle.Finding) (out []bundle.Finding) {
	n := 0
	for _, f := range findings {
		if f.Code == bundle.CodeTrustScope {
			n++
		}
	}
	said := false
	for _, f := range findings {
		if f.Code == bundle.CodeTrustScope && n > 1 {
			if said {
				continue
			}
			said = true
			f.Subject, f.Message = "", fmt.Sprintf("each of these %d anchors can mint any identity of every cluster that trusts the bundle", n)
		}
		out = append(out, f)
	}
	return out
}
