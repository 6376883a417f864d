package cli

import (
	"fmt"
	"io"
	"strings"
	"time"

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

func (a *app) bundleShowCmd() *cobra.Command {
	var readAs, release string
	c := &cobra.Command{
		Use:   "show SOURCE...",
		Short: "Show the anchors of one or more sources, one row each",
		Long: `Show the anchors of one or more sources, one row each. Copies of a certificate are
counted once; each place that holds one is listed with -o json.

With --read-as the sources are read exactly as that consumer reads its text:
identity is linkerd-identity and the start of every sidecar, proxy the proxy
itself. Where it would take nothing the exit code is 3, with its reason.

` + sourceHelp,
		Example: example(
			"windlass bundle show old-cluster.yaml new-cluster.yaml",
			"windlass bundle show ca.crt -o json",
			"windlass bundle show --read-as identity ca.crt"),
		Args: args(cobra.MinimumNArgs(1), "at least one SOURCE is needed"),
		RunE: func(_ *cobra.Command, names []string) error {
			sources, err := a.readSources(names)
			if err != nil {
				return err
			}
			if readAs != "" {
				return a.showAs(sources, readAs, release)
			}
			b, notes, err := a.anchorsOf(sources)
			if err != nil {
				return err
			}
			findings := append(notes, bundle.LintBundle(b, nil, bundle.LintOptions{Now: a.Now()})...)
			return a.print(struct {
				Anchors  []anchorJSON     `json:"anchors"`
				Findings []bundle.Finding `json:"findings"`
			}{bundleJSON(b), orEmpty(findings)}, func(w io.Writer) error {
				if err := a.anchorTable(w, b.Sorted(), func(c *bundle.Certificate) []string { return b.From(c.Fingerprint()) }); err != nil {
					return err
				}
				writeFindings(a.Stderr, a.errStyle(), aboveInfo(findings))
				return nil
			})
		},
	}
	c.Flags().StringVar(&readAs, "read-as", "", "read as this consumer does: identity or proxy")
	c.Flags().StringVar(&release, "linkerd", "", "the Linkerd release whose proxy reads (default the newest known)")
	return c
}

func aboveInfo(findings []bundle.Finding) (out []bundle.Finding) {
	for _, f := range findings {
		if f.Level != bundle.LevelInfo {
			out = append(out, f)
		}
	}
	return out
}

// showAs shows what a consumer takes from each text of the sources.
func (a *app) showAs(sources []*bundle.Source, who, release string) error {
	rules := bundle.Rules(who)
	if rules != bundle.Identity && rules != bundle.Proxy {
		return usagef("--read-as %q: use identity or proxy", who)
	}
	releases, err := parseReleases([]string{release})
	if err != nil {
		return err
	}
	r := bundle.Releases()[len(bundle.Releases())-1]
	if len(releases) > 0 {
		r = releases[0]
	}
	var certs []*bundle.Certificate
	var findings []bundle.Finding
	from := make(map[*bundle.Certificate][]string)
	var refused error
	for _, s := range sources {
		texts := s.AnchorTexts()
		for _, t := range texts {
			reading := bundle.ReadAs(t.PEM, rules, r)
			if reading.Err != nil {
				if refused == nil {
					refused = fmt.Errorf("%s takes nothing from %s: %w", consumer(rules), t.From, reading.Err)
				}
				continue
			}
			for _, c := range reading.Certificates {
				certs = append(certs, c)
				from[c] = append(from[c], t.From)
			}
			for _, sk := range reading.Skipped {
				findings = append(findings, bundle.Finding{Level: bundle.LevelWarning, Code: bundle.CodeSkippedByProxy, Subject: t.From,
					Message: fmt.Sprintf("the block in line %d of the text is passed over: %v", sk.Line, sk.Reason)})
			}
			if reading.TruncatedAt > 0 {
				findings = append(findings, bundle.Finding{Level: bundle.LevelError, Code: bundle.CodeTruncatedForIdentity, Subject: t.From,
					Message: fmt.Sprintf("reading stops at the block in line %d of the text; what follows is dropped in silence", reading.TruncatedAt)})
			}
		}
		if len(texts) == 0 && refused == nil {
			_, refused = s.Anchors()
		}
	}
	if refused != nil {
		findings = append(findings, bundle.Finding{Level: bundle.LevelError, Code: unreadableBy(rules), Message: refused.Error()})
	}
	anchors := make([]anchorJSON, 0, len(certs))
	for _, c := range certs {
		anchors = append(anchors, toJSON(c, from[c]))
	}
	err = a.print(struct {
		Anchors  []anchorJSON     `json:"anchors"`
		Findings []bundle.Finding `json:"findings"`
	}{anchors, orEmpty(findings)}, func(w io.Writer) error {
		writeFindings(a.Stderr, a.errStyle(), findings)
		if len(certs) == 0 {
			return nil
		}
		return a.anchorTable(w, certs, func(c *bundle.Certificate) []string { return from[c] })
	})
	if err == nil && refused != nil {
		return answer(ExitNo)
	}
	return err
}

func consumer(r bundle.Rules) string {
	if r == bundle.Identity {
		return "linkerd-identity"
	}
	return "a proxy"
}

func unreadableBy(r bundle.Rules) bundle.Code {
	if r == bundle.Identity {
		return bundle.CodeUnreadableByIdentity
	}
	return bundle.CodeUnreadableByProxy
}

func (a *app) bundleMergeCmd() *cobra.Command {
	var out string
	var force, compact bool
	var issuers []string
	c := &cobra.Command{
		Use:   "merge SOURCE...",
		Short: "Merge the anchors of sources into one bundle; nothing is lost",
		Long: `Merge the anchors of sources into one bundle: the union by certificate, in a
deterministic order, as text that every reader of Linkerd's accepts. Every
certificate of every source is in the result.

Two certificates of one anchor (twins, such as a root and its re-issue) both stay
and are reported. --compact drops a twin only where no verdict can change on any
issuer that the sources or --issuer name; what is kept is said with the reason.

` + sourceHelp,
		Example: example(
			"windlass bundle merge old-cluster.yaml new-cluster.yaml",
			"windlass bundle merge old-cluster.yaml ca.crt --out bundle.crt",
			"windlass bundle merge old-cluster.yaml new-cluster.yaml --compact"),
		Args: args(cobra.MinimumNArgs(1), "at least one SOURCE is needed"),
		RunE: func(_ *cobra.Command, names []string) error {
			sources, err := a.readSources(names)
			if err != nil {
				return err
			}
			b, findings, err := a.anchorsOf(sources)
			if err != nil {
				return err
			}
			known, err := a.knownIssuers(sources, issuers)
			if err != nil {
				return err
			}
			var dropped []*bundle.Certificate
			if compact {
				res := bundle.Compact(b, known, a.Now())
				b, dropped = res.Bundle, res.Dropped
				for _, k := range res.Kept {
					findings = append(findings, bundle.Finding{Level: bundle.LevelInfo, Code: bundle.CodeDuplicateAnchor, Subject: k.Certificate.String(),
						Message: "this twin is kept: " + k.Reason})
				}
			}
			findings = append(findings, bundle.LintBundle(b, known, bundle.LintOptions{Now: a.Now()})...)
			pem := b.Marshal()
			if out != "" {
				if err := a.writeFile(out, pem, 0o644, force); err != nil {
					return err
				}
			}
			result := struct {
				Anchors  []anchorJSON     `json:"anchors"`
				Dropped  []anchorJSON     `json:"dropped,omitempty"`
				Findings []bundle.Finding `json:"findings"`
				PEM      string           `json:"pem,omitempty"`
				Out      string           `json:"out,omitempty"`
			}{Anchors: bundleJSON(b), Findings: orEmpty(findings), Out: out}
			for _, d := range dropped {
				result.Dropped = append(result.Dropped, toJSON(d, nil))
			}
			if out == "" {
				result.PEM = string(pem)
			}
			return a.print(result, func(w io.Writer) error {
				writeFindings(a.Stderr, a.errStyle(), condense(findings))
				for _, d := range dropped {
					a.note("dropped %s: a twin stays, and no verdict changes", d)
				}
				if out != "" {
					a.note("wrote %s to %s", plural(b.Len(), "anchor"), out)
					return nil
				}
				_, err := w.Write(pem)
				return err
			})
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the bundle to this file (default standard output)")
	c.Flags().BoolVar(&force, "force", false, "overwrite the file")
	c.Flags().BoolVar(&compact, "compact", false, "drop twins where that is proved to change no verdict")
	c.Flags().StringArrayVar(&issuers, "issuer", nil, "SOURCE of an issuer in use, for --compact to judge (repeatable)")
	return c
}

// knownIssuers gathers the issuers and chains that manifests among the sources
// hold, and those named.
func (a *app) knownIssuers(sources []*bundle.Source, named []string) (known [][]*bundle.Certificate, err error) {
	for _, s := range sources {
		if !s.Manifest {
			continue
		}
		for _, t := range s.ChainTexts() {
			chain, err := bundle.ReadChain(t.PEM)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", t.From, err)
			}
			if len(chain) > 0 {
				known = append(known, chain)
			}
		}
	}
	for _, name := range named {
		s, err := a.readSource(name)
		if err != nil {
			return nil, err
		}
		chain, err := s.Chain()
		if err != nil {
			return nil, err
		}
		known = append(known, chain)
	}
	return known, nil
}

func (a *app) bundleDiffCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "diff A B",
		Short: "Compare the anchors of two sources; exit 3 when they differ",
		Long: `Compare the anchors of two sources by certificate; exit 3 when they differ. Order,
comments and line ends do not count.

` + sourceHelp,
		Example: example("windlass bundle diff old-cluster.yaml new-cluster.yaml"),
		Args:    args(cobra.ExactArgs(2), "exactly two SOURCEs are needed"),
		RunE: func(_ *cobra.Command, names []string) error {
			sources, err := a.readSources(names)
			if err != nil {
				return err
			}
			x, _, err := a.anchorsOf(sources[:1])
			if err != nil {
				return err
			}
			y, _, err := a.anchorsOf(sources[1:])
			if err != nil {
				return err
			}
			onlyX, onlyY := x.Diff(y)
			shared := x.Shared(y)
			list := func(certs []*bundle.Certificate, b *bundle.Bundle) []anchorJSON {
				out := []anchorJSON{}
				for _, c := range certs {
					out = append(out, toJSON(c, b.From(c.Fingerprint())))
				}
				return out
			}
			ids := make([]string, 0, len(shared))
			for _, id := range shared {
				ids = append(ids, id.String())
			}
			err = a.print(struct {
				Equal  bool         `json:"equal"`
				OnlyA  []anchorJSON `json:"onlyA"`
				OnlyB  []anchorJSON `json:"onlyB"`
				Shared []string     `json:"sharedAnchors"`
			}{x.Equal(y), list(onlyX, x), list(onlyY, y), ids}, func(w io.Writer) error {
				return a.diffText(w, x, y, onlyX, onlyY)
			})
			if err == nil && !x.Equal(y) {
				return answer(ExitNo)
			}
			return err
		},
	}
}

func (a *app) diffText(w io.Writer, x, y *bundle.Bundle, onlyX, onlyY []*bundle.Certificate) error {
	now := a.Now()
	line := func(sign string, c, twin *bundle.Certificate, paint func(string) string) row {
		_, end := c.Validity()
		note := ""
		if twin != nil {
			note = "same anchor as " + twin.Fingerprint().String()[:16]
		}
		return row{cells: []string{sign, c.Subject(), until(end, now), c.Fingerprint().String()[:16], note}, paint: paint}
	}
	var rows []row
	for _, c := range x.Sorted() {
		if y.Get(c.Fingerprint()) != nil {
			rows = append(rows, line("=", c, nil, nil))
		}
	}
	for _, c := range onlyX {
		rows = append(rows, line("-", c, twinIn(y, c), a.outStyle().bad))
	}
	for _, c := range onlyY {
		rows = append(rows, line("+", c, twinIn(x, c), a.outStyle().good))
	}
	return table(w, nil, rows)
}

func twinIn(b *bundle.Bundle, c *bundle.Certificate) *bundle.Certificate {
	for _, o := range b.Sorted() {
		if o.AnchorID() == c.AnchorID() {
			return o
		}
	}
	return nil
}

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
				return err
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
				return answer(ExitExpiring)
			}
			return nil
		},
	}
	c.Flags().Var(&soon, "expires-within", "report what expires within this time")
	c.Flags().Var(&within, "fail-within", "exit 4 where something expires within this time, such as 30d")
	return c
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

func parseReleases(names []string) (out []bundle.Release, err error) {
	for _, n := range names {
		for _, one := range strings.FieldsFunc(n, func(r rune) bool { return r == ',' || r == '|' || r == ' ' }) {
			r, err := bundle.ParseRelease(one)
			if err != nil {
				return nil, usageError{fmt.Errorf("--linkerd: %w", err)}
			}
			out = append(out, r)
		}
	}
	return out, nil
}
