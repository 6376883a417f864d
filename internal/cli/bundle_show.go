package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

func (a *app) bundleShowCmd() *cobra.Command {
	var readAs string
	var releases releasesFlag
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
			release := bundle.Releases()[len(bundle.Releases())-1]
			switch len(releases.releases) {
			case 0:
			case 1:
				release = releases.releases[0]
			default:
				return usagef("--linkerd takes one release here")
			}
			if len(releases.releases) > 0 && readAs == "" {
				return usagef("--linkerd goes with --read-as")
			}
			sources, err := a.readSources(names)
			if err != nil {
				return err
			}
			if readAs != "" {
				return a.showAs(sources, bundle.Rules(readAs), release)
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
	c.Flags().Var(&enumFlag{&readAs, []string{"identity", "proxy"}}, "read-as", "read as this consumer does")
	c.Flags().Var(&releases, "linkerd", "the Linkerd release whose proxy reads (default the newest known)")
	return c
}

// showAs shows what a consumer takes from each text of the sources.
func (a *app) showAs(sources []*bundle.Source, rules bundle.Rules, release bundle.Release) error {
	var certs []*bundle.Certificate
	var findings []bundle.Finding
	from := make(map[*bundle.Certificate][]string)
	refused := false
	for _, s := range sources {
		texts := s.AnchorTexts()
		if len(texts) == 0 {
			_, err := s.Anchors() // says what was looked for
			refused = true
			findings = append(findings, bundle.Finding{Level: bundle.LevelError, Code: unreadableBy(rules), Message: err.Error()})
		}
		for _, t := range texts {
			reading := bundle.ReadAs(t.PEM, rules, release)
			refused = refused || reading.Err != nil
			for _, c := range reading.Certificates {
				certs = append(certs, c)
				from[c] = append(from[c], t.From)
			}
			findings = append(findings, readingFindings(t.From, rules, reading)...)
		}
	}
	anchors := make([]anchorJSON, 0, len(certs))
	for _, c := range certs {
		anchors = append(anchors, toJSON(c, from[c]))
	}
	err := a.print(struct {
		Anchors  []anchorJSON     `json:"anchors"`
		Findings []bundle.Finding `json:"findings"`
	}{anchors, orEmpty(findings)}, func(w io.Writer) error {
		writeFindings(a.Stderr, a.errStyle(), findings)
		if len(certs) == 0 {
			return nil
		}
		return a.anchorTable(w, certs, func(c *bundle.Certificate) []string { return from[c] })
	})
	if err == nil && refused {
		return answer(ExitNo)
	}
	return err
}

// readingFindings says what the consumer left behind of one text.
func readingFindings(from string, rules bundle.Rules, r bundle.Reading) (out []bundle.Finding) {
	if r.Err != nil {
		return []bundle.Finding{{Level: bundle.LevelError, Code: unreadableBy(rules),
			Message: fmt.Sprintf("%s takes nothing from %s: %v", consumer(rules), from, r.Err)}}
	}
	for _, s := range r.Skipped {
		out = append(out, bundle.Finding{Level: bundle.LevelWarning, Code: bundle.CodeSkippedByProxy, Subject: from,
			Message: fmt.Sprintf("the block in line %d of the text is passed over: %v", s.Line, s.Reason)})
	}
	if r.TruncatedAt > 0 {
		out = append(out, bundle.Finding{Level: bundle.LevelError, Code: bundle.CodeTruncatedForIdentity, Subject: from,
			Message: fmt.Sprintf("reading stops at the block in line %d of the text; what follows is dropped in silence", r.TruncatedAt)})
	}
	return out
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
