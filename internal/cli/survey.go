package cli

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/mesh"
	"github.com/windlass-mesh/windlass/mesh/health"
)

func (a *app) surveyCmd() *cobra.Command {
	var f fleetFlags
	var all bool
	c := &cobra.Command{
		Use:   "survey",
		Short: "Show who trusts what and who presents what, across the fleet",
		Long: `Show who trusts what and who presents what, across the fleet: a matrix of anchors and
clusters, then for each cluster its control plane, issuer, copies of the anchors and
Links, and its workloads by what their pods trust, with the evidence for it and what
a restart takes. What could not be seen is listed with the reason.

` + fleetHelp + `

-o json gives every workload; docs/health.md describes it.`,
		Example: example(
			"windlass survey",
			"windlass survey --context east --context west -o json"),
		Args: args(cobra.NoArgs, "it takes no arguments"),
		RunE: func(*cobra.Command, []string) error {
			seen, err := a.survey(a.ctx, &f, true)
			if err != nil {
				return err
			}
			if err := a.print(a.surveyJSON(seen.Fleet), func(w io.Writer) error { return a.writeSurvey(w, seen.Fleet, all) }); err != nil {
				return err
			}
			if !slices.ContainsFunc(seen.Surveys, func(s *mesh.Survey) bool { return s.Reached }) {
				return answer(ExitFailed)
			}
			return nil
		},
	}
	f.register(c)
	c.Flags().BoolVar(&all, "all", false, "list every workload, not the first 20 of each cluster")
	return c
}

func (a *app) writeSurvey(w io.Writer, f *mesh.Fleet, all bool) error {
	if err := a.writeMatrix(w, f); err != nil {
		return err
	}
	for _, s := range f.Surveys {
		fmt.Fprintln(w)
		if err := a.writeCluster(w, f, s, all); err != nil {
			return err
		}
	}
	return nil
}

// writeMatrix writes anchors against clusters.
func (a *app) writeMatrix(w io.Writer, f *mesh.Fleet) error {
	header := []string{"ANCHOR", "ENDS"}
	for _, s := range f.Surveys {
		header = append(header, visible(strings.ToUpper(s.Name)))
	}
	var rows []row
	for _, r := range matrix(f, a.Now()) {
		end := ends(r.cert)
		cells := []string{r.cert.String(), until(end, a.Now())}
		for n, c := range r.cells {
			cells = append(cells, cellText(f.Surveys[n], c))
		}
		var paint func(string) string
		if end.Before(a.Now()) {
			paint = a.outStyle().bad
		}
		rows = append(rows, row{cells, paint})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(w, "no anchors were seen")
		return err
	}
	return table(w, header, rows)
}

// cellText says who in a cluster trusts an anchor: "signs, 3 of 3 copies, 12 of
// 12 peers".
func cellText(s *mesh.Survey, c cellJSON) string {
	if !s.Reached {
		return "?"
	}
	copies := 0
	for _, i := range s.Installations {
		copies += len(i.Copies)
	}
	var parts []string
	if c.Signs {
		parts = append(parts, "signs")
	}
	if c.Copies > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s", c.Copies, counted(copies, "copy", "copies")))
	}
	if c.Peers > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s", c.Peers, counted(len(s.Peers), "peer", "peers")))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func (a *app) writeCluster(w io.Writer, f *mesh.Fleet, s *mesh.Survey, all bool) error {
	st := a.outStyle()
	if !s.Reached {
		reason := "no answer"
		if len(s.Unknowns) > 0 {
			reason = s.Unknowns[0].Reason
		}
		_, err := fmt.Fprintf(w, "%s: %s\n", visible(s.Name), st.bad(visible("not reached: "+reason)))
		return err
	}
	finished := ""
	if s.Finished > 0 {
		finished = fmt.Sprintf(", not counting %s", counted(s.Finished, "finished pod", "finished pods"))
	}
	fmt.Fprintf(w, "%s: %s\n", visible(s.Name), visible(counted(len(s.Peers), "peer", "peers")+finished))
	for _, i := range s.Installations {
		a.writeControlPlane(w, i)
	}
	for _, l := range s.Links {
		to := "not in this fleet"
		if t := f.Target(l); t != nil {
			to = "which is " + t.Name
		} else if why := health.Unseen(l); why != "" {
			to = "not known to be in this fleet: " + why
		}
		fmt.Fprintf(w, "  %s\n", visible(fmt.Sprintf("Link %s/%s to %s, %s", l.Object.Namespace, l.Object.Name, l.Target, to)))
	}
	if err := a.writeWorkloads(w, s, all); err != nil {
		return err
	}
	unknowns := slices.Clone(s.Unknowns)
	for _, i := range s.Installations {
		unknowns = append(unknowns, slices.DeleteFunc(slices.Clone(i.Unknowns), func(u mesh.Unknown) bool { return u.Code == mesh.CodeDisagreement })...)
	}
	for _, u := range unknowns {
		fmt.Fprintf(w, "  %s %s\n", st.warn("not known:"), visible(u.About+": "+strings.TrimPrefix(u.Reason, u.About+": ")))
	}
	return nil
}

func (a *app) writeControlPlane(w io.Writer, i *mesh.Installation) {
	st := a.outStyle()
	by := ""
	if i.Installer.Tool != "" {
		by = ", installed by " + string(i.Installer.Tool)
	}
	fmt.Fprintf(w, "  control plane %s\n", visible(fmt.Sprintf("%s: %s, layout %s, trust domain %s%s", i.Namespace, orUnknown(i.Release), i.Layout, i.TrustDomain, by)))
	if is := i.Issuer; is != nil {
		text := fmt.Sprintf("in %s", is.Object)
		switch {
		case is.Err != nil || len(is.Chain) == 0:
			text = st.bad(visible(fmt.Sprintf("%s: linkerd-identity does not take it: %v", text, is.Err)))
		default:
			text = visible(fmt.Sprintf("%s ends %s; %s", is.Chain[0], untilText(ends(is.Chain[0]), a.Now()), text))
			if len(is.Chain) > 1 {
				text += visible(fmt.Sprintf(", with %s above it", counted(len(is.Chain)-1, "certificate", "certificates")))
			}
			if o := mesh.ActiveOwner(is.Owners); o != nil {
				text += visible(", kept by " + string(o.Tool))
			}
		}
		fmt.Fprintf(w, "    issuer %s\n", text)
	}
	for n := range i.Copies {
		cp := &i.Copies[n]
		text := "nothing"
		if cp.Trust != nil {
			text = counted(len(cp.Trust.Anchors), "anchor", "anchors")
		}
		if o := mesh.ActiveOwner(cp.Owners); o != nil {
			text += ", kept by " + string(o.Tool)
		}
		line := visible(fmt.Sprintf("%s (%s): %s", cp.Object, usesOf(cp), text))
		if !health.Agrees(i, cp) {
			line += " " + st.warn("differs from what new pods are given")
		}
		fmt.Fprintf(w, "    copy %s\n", line)
	}
}

func usesOf(cp *mesh.Copy) string {
	if len(cp.Uses) == 0 {
		return "counts for nothing"
	}
	var out []string
	for _, u := range cp.Uses {
		out = append(out, string(u))
	}
	return strings.Join(out, ", ")
}

// counted is a number with its noun.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// shown is how many workloads of a cluster are listed for people.
const shown = 20

// writeWorkloads lists workloads by what their pods trust; those that need
// attention first.
func (a *app) writeWorkloads(w io.Writer, s *mesh.Survey, all bool) error {
	if len(s.Workloads) == 0 {
		return nil
	}
	type line struct {
		row
		rank int
		name string
	}
	var lines []line
	for _, wl := range s.Workloads {
		groups := podGroups(s, wl)
		for _, class := range wl.Literal {
			if len(wl.Pods) == 0 {
				groups = append(groups, podGroup{class: class})
			}
		}
		for _, g := range groups {
			l := line{name: wl.Namespace + "/" + wl.Name, rank: 2}
			trust, paint := "", a.outStyle().warn
			switch {
			case g.class.Trust == nil:
				l.rank, trust = 0, "not known: "+g.class.TrustWhy
			case g.class.Trust.Err != nil:
				l.rank, trust, paint = 0, "none: "+g.class.Trust.Err.Error(), a.outStyle().bad
			default:
				trust = trustText(g.class.Trust)
				if wl.Method != mesh.RestartRolling {
					l.rank = 1
				} else {
					paint = nil
				}
			}
			restart := string(wl.Method)
			if wl.Why != "" {
				restart += ": " + wl.Why
			}
			evidence := string(g.evidence)
			if evidence == "" {
				evidence = "-"
			}
			l.row = row{[]string{"  " + wl.String(), fmt.Sprint(g.pods), trust, evidence, restart}, paint}
			lines = append(lines, l)
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.name, b.name)) })
	more := len(lines) - shown
	if all || more <= 0 {
		more = 0
	}
	var rows []row
	for _, l := range lines[:len(lines)-more] {
		rows = append(rows, l.row)
	}
	if err := table(w, []string{"  WORKLOAD", "PODS", "TRUSTS", "EVIDENCE", "RESTART"}, rows); err != nil {
		return err
	}
	if more > 0 {
		fmt.Fprintf(w, "  and %s (--all)\n", counted(more, "more line", "more lines"))
	}
	return nil
}

func trustText(t *mesh.TrustSet) string {
	var names []string
	for _, c := range uniqueAnchors(t) {
		names = append(names, c.String())
	}
	slices.Sort(names)
	if len(names) > 3 {
		names = append(names[:2], fmt.Sprintf("%d more", len(names)-2))
	}
	return strings.Join(names, ", ")
}
