package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// WriteReference writes a page, in Markdown, about every command: what --help
// says, for reading in a browser.
func WriteReference(w io.Writer) error {
	root := (&app{Env: Env{}}).rootCommand()
	var b strings.Builder
	b.WriteString("# Commands\n\nGenerated from the commands' own help by `make generate`.\n\n")
	fmt.Fprintf(&b, "Every command also takes `-o text|json|yaml`.\n")
	describeCommands(&b, root)
	_, err := io.WriteString(w, b.String())
	return err
}

func describeCommands(b *strings.Builder, parent *cobra.Command) {
	for _, c := range parent.Commands() {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		if c.HasSubCommands() {
			describeCommands(b, c)
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n", c.CommandPath())
		text := c.Long
		if text == "" {
			text = c.Short + "."
		}
		fmt.Fprintf(b, "%s\n\n    %s\n", text, c.UseLine())
		if c.Example != "" {
			fmt.Fprintf(b, "\nExamples:\n\n%s\n", indent(strings.TrimRight(c.Example, "\n"), "  "))
		}
		var flags []*pflag.Flag
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" {
				flags = append(flags, f)
			}
		})
		if len(flags) == 0 {
			continue
		}
		b.WriteString("\n| flag | meaning |\n|---|---|\n")
		for _, f := range flags {
			kind, usage := pflag.UnquoteUsage(f)
			if kind != "" {
				kind = " " + strings.ReplaceAll(kind, "|", "\\|")
			}
			if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
				usage += " (default " + f.DefValue + ")"
			}
			fmt.Fprintf(b, "| `--%s%s` | %s |\n", f.Name, kind, strings.ReplaceAll(usage, "|", "\\|"))
		}
	}
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(s, "\n", "\n"+by)
}
