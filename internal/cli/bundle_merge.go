package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

func (a *app) bundleMergeCmd() *cobra.Command {
	var out string
	var files outputs
	var compact bool
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
			if out != "" {
				if err := files.check([]string{out}); err != nil {
					return err
				}
			}
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
				if err := files.commit(file{out, pem, 0o644}); err != nil {
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
			err = a.print(result, func(w io.Writer) error {
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
			if err != nil && out != "" {
				return written(err, out)
			}
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "write the bundle to this `FILE` (default standard output)")
	c.Flags().BoolVar(&files.force, "force", false, "overwrite the file")
	c.Flags().BoolVar(&compact, "compact", false, "drop twins where that is proved to change no verdict")
	c.Flags().StringArrayVar(&issuers, "issuer", nil, "`SOURCE` of an issuer in use, for --compact to judge (repeatable)")
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
				return nil, explainSource(fmt.Errorf("read %s: %w", t.From, err))
			}
			if len(chain) > 0 {
				known = append(known, chain)
			}
		}
	}
	for _, name := range named {
		chain, err := a.readIssuer(name)
		if err != nil {
			return nil, err
		}
		known = append(known, chain)
	}
	return known, nil
}
