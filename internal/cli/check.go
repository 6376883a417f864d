package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// checkJSON is what `windlass check -o json` prints: add, never rename.
type checkJSON struct {
	// Verdict is well, expiring or unwell, after the exit code 0, 4 or 3.
	Verdict  string              `json:"verdict"`
	Findings []health.Finding    `json:"findings"`
	Links    []health.LinkReport `json:"links"`
	// Endings are what ends next, earliest first.
	Endings []endingJSON `json:"endings"`
}

type endingJSON struct {
	Cluster string `json:"cluster"`
	What    string `json:"what"`
	At      string `json:"at"`      // RFC3339
	Renewed bool   `json:"renewed"` // by itself, and not late
}

func (a *app) checkCmd() *cobra.Command {
	var f fleetFlags
	var within durationFlag
	c := &cobra.Command{
		Use:   "check",
		Short: "Judge the health of anchors, issuers, peers and Links of the fleet",
		Long: `Judge the health of the fleet's anchors, issuers, peers and Links: what
` + "`linkerd check`" + ` looks at, by what is in effect. Every finding has a stable code, and
a hint that names the command that helps; docs/health.md explains them.

Exit 3 on a finding of level error. What could not be seen is one where the verdict
rests on it. With --fail-within, exit 4 where all is well but something in use ends
within that time; an issuer that cert-manager renews counts once it is late.

` + fleetHelp,
		Example: example(
			"windlass check",
			"windlass check --context east --context west --fail-within 30d -o json"),
		Args: args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			seen, err := a.survey(a.ctx, &f, true)
			if err != nil {
				return err
			}
			r := health.Check(seen.Fleet, a.Now(), health.CheckOptions{Outside: seen.outside})
			var ending *health.Ending
			if cmd.Flags().Changed("fail-within") {
				ending = r.EndsWithin(a.Now(), within.d)
			}
			out := checkJSON{Verdict: "well", Findings: r.Findings, Links: r.Links, Endings: []endingJSON{}}
			if out.Findings == nil {
				out.Findings = []health.Finding{}
			}
			switch {
			case r.Worst() == bundle.LevelError:
				out.Verdict = "unwell"
			case ending != nil:
				out.Verdict = "expiring"
			}
			for _, e := range r.Endings {
				out.Endings = append(out.Endings, endingJSON{e.Cluster, e.What, e.At.UTC().Format(time.RFC3339), e.Renewed})
			}
			if err := a.print(out, func(w io.Writer) error { return a.writeCheck(w, seen.Fleet, r, ending) }); err != nil {
				return err
			}
			switch out.Verdict {
			case "unwell":
				return answer(ExitNo)
			case "expiring":
				return answer(ExitExpiring)
			}
			return nil
		},
	}
	f.register(c)
	c.Flags().Var(&within, "fail-within", "exit 4 where something in use ends within this time, such as 60d")
	return c
}

// writeCheck writes a line for each cluster, and its findings below.
func (a *app) writeCheck(w io.Writer, f *mesh.Fleet, r *health.Report, ending *health.Ending) error {
	s := a.outStyle()
	for _, c := range f.Surveys {
		var own []bundle.Finding
		for _, x := range r.Findings {
			if x.Cluster == c.Name {
				own = append(own, x.Finding)
			}
		}
		word := s.good("well")
		switch bundle.Worst(own) {
		case bundle.LevelError:
			word = s.bad("unwell")
		case bundle.LevelWarning:
			word = s.warn("well, with warnings")
		}
		fmt.Fprintf(w, "%s: %s%s\n", visible(c.Name), word, visible(headline(c)))
		var text strings.Builder
		writeFindings(&text, s, own)
		for line := range strings.Lines(text.String()) {
			fmt.Fprintf(w, "  %s", line)
		}
	}
	if len(r.Links) > 0 {
		count := map[health.Verdict]int{}
		for _, l := range r.Links {
			count[l.Verdict]++
		}
		var parts []string
		for _, v := range []health.Verdict{health.Sound, health.Expiring, health.Unknown, health.Broken} {
			if count[v] > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
			}
		}
		fmt.Fprintf(w, "Links: %s\n", strings.Join(parts, ", "))
	}
	for _, e := range r.Endings {
		if !e.Renewed {
			fmt.Fprintf(w, "next to end: %s\n", visible(fmt.Sprintf("%s in %s, %s", e.What, e.Cluster, untilText(e.At, a.Now()))))
			break
		}
	}
	if ending != nil {
		fmt.Fprintln(w, s.warn("that is within --fail-within"))
	}
	return nil
}

// headline says what a cluster runs, " (2 control planes, ...)".
func headline(s *mesh.Survey) string {
	if !s.Reached {
		return ""
	}
	var parts []string
	for _, i := range s.Installations {
		anchors := 0
		if c := i.CopiesFor(mesh.NewPods); len(c) > 0 && c[0].Trust != nil {
			anchors = len(c[0].Trust.Anchors)
		}
		parts = append(parts, fmt.Sprintf("%s in %s, %s", orUnknown(i.Release), i.Namespace, counted(anchors, "anchor", "anchors")))
	}
	parts = append(parts, counted(len(s.Peers), "peer", "peers"))
	return " (" + strings.Join(parts, ", ") + ")"
}

func orUnknown(s string) string {
	if s == "" {
		return "release unknown"
	}
	return s
}

// untilText is until without brackets inside of brackets.
func untilText(t, now time.Time) string {
	return t.UTC().Format(time.DateOnly) + ", " + relative(t.Sub(now))
}
