package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/mesh/health"
)

func (a *app) linkCmd() *cobra.Command {
	c := &cobra.Command{Use: "link", Short: "Links between clusters"}
	c.AddCommand(a.linkCheckCmd())
	return c
}

func (a *app) linkCheckCmd() *cobra.Command {
	var f fleetFlags
	var within durationFlag
	c := &cobra.Command{
		Use:   "check",
		Short: "Judge every Link of the fleet in both directions, with reasons",
		Long: `Judge every Link of the fleet in both directions: whether the peers on each side
verify what those on the other present, as the proxies do it. That both clusters have
an anchor in common neither suffices nor is it needed.

A Link is sound only where both directions are proved; otherwise the exit code is 3.
It is expiring where it is sound and ends soon, which alone is exit 4 with
--fail-within. What a target trusts and presents is read from the cluster itself where
it is among the contexts, and else with the Link's own credentials.

` + fleetHelp,
		Example: example(
			"windlass link check",
			"windlass link check --context east --context west -o json"),
		Args: args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			seen, err := a.survey(a.ctx, &f, true)
			if err != nil {
				return err
			}
			links := health.NewJudge(a.Now()).Links(seen.Fleet, seen.outside, within.d)
			blind := a.blind(seen)
			err = a.print(struct {
				Links []health.LinkReport `json:"links"`
			}{links}, func(w io.Writer) error { return a.writeLinks(w, links) })
			if err != nil {
				return err
			}
			return linksAnswer(links, blind, cmd.Flags().Changed("fail-within"))
		},
	}
	f.register(c)
	c.Flags().Var(&within, "fail-within", "exit 4 where a Link is sound no longer than this, such as 30d")
	return c
}

// blind says on standard error which clusters' Links could not be listed, and
// reports whether there are such.
func (a *app) blind(seen *fleet) bool {
	found := false
	for _, s := range seen.Surveys {
		for _, u := range s.Unknowns {
			if s.Reached && u.About != "Links" && u.About != "credentials of Links" {
				continue
			}
			found = true
			if a.output == "text" {
				a.note("the Links of %s are not known: %s", s.Name, u.Reason)
			}
		}
	}
	return found
}

func linksAnswer(links []health.LinkReport, blind, failing bool) error {
	expiring := false
	for _, l := range links {
		if l.Verdict == health.Broken || l.Verdict == health.Unknown {
			return answer(ExitNo)
		}
		expiring = expiring || l.Verdict == health.Expiring
	}
	switch {
	case blind:
		return answer(ExitNo)
	case expiring && failing:
		return answer(ExitExpiring)
	}
	return nil
}

func (a *app) writeLinks(w io.Writer, links []health.LinkReport) error {
	if len(links) == 0 {
		_, err := fmt.Fprintln(w, "no Links")
		return err
	}
	s := a.outStyle()
	for _, l := range links {
		paint := s.good
		switch l.Verdict {
		case health.Broken, health.Unknown:
			paint = s.bad
		case health.Expiring:
			paint = s.warn
		}
		until := ""
		if !l.End.IsZero() {
			until = ", until " + untilText(l.End, a.Now())
		}
		fmt.Fprintf(w, "%s %s\n", paint(string(l.Verdict)), visible(fmt.Sprintf("%s -> %s (Link %s/%s)%s", l.Cluster, l.Target, l.Namespace, l.Name, until)))
		for _, d := range []struct {
			name string
			health.Direction
		}{{"to target", l.ToTarget}, {"from target", l.FromTarget}} {
			mark := s.good("ok")
			switch {
			case !d.OK && d.Known:
				mark = s.bad("no")
			case !d.OK:
				mark = s.bad("unknown")
			}
			fmt.Fprintf(w, "  %-11s  %s: %s\n", d.name, mark, visible(d.Reason))
		}
		for _, h := range l.Hints {
			fmt.Fprintf(w, "  %s\n", s.dim("hint: "+visible(h)))
		}
	}
	return nil
}
