package cli

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/bundle"
)

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
	twinsX, twinsY := byAnchor(x), byAnchor(y)
	var rows []row
	for _, c := range x.Sorted() {
		if y.Get(c.Fingerprint()) != nil {
			rows = append(rows, line("=", c, nil, nil))
		}
	}
	for _, c := range onlyX {
		rows = append(rows, line("-", c, twinsY[c.AnchorID()], a.outStyle().bad))
	}
	for _, c := range onlyY {
		rows = append(rows, line("+", c, twinsX[c.AnchorID()], a.outStyle().good))
	}
	return table(w, nil, rows)
}

func byAnchor(b *bundle.Bundle) map[bundle.AnchorID]*bundle.Certificate {
	out := make(map[bundle.AnchorID]*bundle.Certificate)
	for _, c := range b.Sorted() {
		if out[c.AnchorID()] == nil {
			out[c.AnchorID()] = c
		}
	}
	return out
}
