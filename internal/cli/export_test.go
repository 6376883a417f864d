package cli

import "github.com/spf13/cobra"

// Commands is the whole tree of commands, for tests that go through it.
func Commands() *cobra.Command { return (&app{output: "text"}).rootCommand() }

// These are tested by themselves.
var (
	ParseDuration = parseDuration
	Relative      = relative
	Visible       = visible
	FormatIn      = formatIn
)

// DurationText is how a duration stands in the help.
func DurationText(s string) (string, error) {
	var f durationFlag
	err := f.Set(s)
	return f.String(), err
}
