package cli

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

func (a *app) bundleLintCmd() *cobra.Command {
	var soon, within durationFlag
	soon.d = bundle.DefaultExpiresSoon
	c := &cobra.Command{
		Use:   "lint SOURCE",
		Short: "Report everything about a bundle that its readers would stumble over",
		Long: `Report everything about a bundle that its readers would stumble over, each finding
with a stable code. Exit 3 on a finding of level error; with --fail-within, exit 4
where all is well but something expires within that time.

` + sourceHelp,
		Example: example(
			"windlass bundle lint new-cluster.yaml",
			"windlass bundle lint ca.crt --fail-within 30d -o json"),
		Args: args(cobra.ExactArgs(1), "exactly one SOURCE is needed"),
		RunE: func(cmd *cobra.Command, names []string) error {
			s, err := a.readSource(names[0])
			if err != nil {
				return err
			}
			if s.Manifest && len(s.AnchorTexts()) == 0 {
				_, err := s.Anchors()
				return explainSource(err)
			}
			findings := bundle.Lint(s, bundle.LintOptions{Now: a.Now(), ExpiresSoon: soon.d})
			err = a.print(struct {
				Findings []bundle.Finding `json:"findings"`
			}{orEmpty(findings)}, func(w io.Writer) error {
				writeFindings(w, a.outStyle(), condense(findings))
				if bundle.Worst(findings) == bundle.LevelInfo || len(findings) == 0 {
					fmt.Fprintln(w, a.outStyle().good("no errors, no warnings"))
				}
				return nil
			})
			switch {
			case err != nil:
				return err
			case bundle.Worst(findings) == bundle.LevelError:
				return answer(ExitNo)
			case cmd.Flags().Changed("fail-within") && expiresWithin(s, a.Now(), within.d):
				return a.expiring(within)
			}
			return nil
		},
	}
	c.Flags().Var(&soon, "expires-within", "report what expires within this time")
	c.Flags().Var(&within, "fail-within", "exit 4 where something expires within this time, such as 30d")
	return c
}

// expiring ends a command with ExitExpiring and tells people why, since all else
// that they read says that all is well.
func (a *app) expiring(within durationFlag) error {
	if a.output == "text" {
		a.note("something ends within --fail-within %s: exit code %d", within.String(), ExitExpiring)
	}
	return answer(ExitExpiring)
}

func expiresWithin(s *bundle.Source, now time.Time, d time.Duration) bool {
	b, err := s.Anchors()
	if err != nil {
		return false
	}
	certs := b.Certificates()
	if s.Manifest {
		for _, t := range s.ChainTexts() {
			if chain, err := bundle.ReadChain(t.PEM); err == nil {
				certs = append(certs, chain...)
			}
		}
	}
	for _, c := range certs {
		if _, end := c.Validity(); end.Before(now.Add(d)) {
			return true
		}
	}
	return false
}
