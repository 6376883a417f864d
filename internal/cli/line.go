package cli

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// prepare goes through all commands: a noun without a verb shows its help, and
// no command begins before its command line was found sound. What fails before
// that is a usage error.
func (a *app) prepare(c *cobra.Command) {
	for _, sub := range c.Commands() {
		a.prepare(sub)
	}
	if c.HasSubCommands() {
		requireSubcommand(c)
	}
	run := c.RunE
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkLine(cmd, args); err != nil {
			return err
		}
		a.begun = true
		return run(cmd, args)
	}
	c.Flags().VisitAll(completeEnum(c))
	c.PersistentFlags().VisitAll(completeEnum(c))
}

// requireSubcommand makes a noun without a verb show its help, and one with a
// wrong verb an error: cobra alone would call both a success.
func requireSubcommand(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return unknownCommand(cmd, args[0])
	}
}

func unknownCommand(c *cobra.Command, name string) error {
	hints := []string{"see `" + c.CommandPath() + " --help`"}
	if near := c.SuggestionsFor(name); len(near) > 0 {
		hints = append([]string{"did you mean `" + c.CommandPath() + " " + near[0] + "`?"}, hints...)
	}
	return withHints(usagef("unknown command %q for %q", name, c.CommandPath()), hints...)
}

// explainFlag finds what is really wrong: flags of a verb that is not there are
// unknown to its noun, and -o has another long name in kubectl.
func explainFlag(c *cobra.Command, args []string, err error) error {
	if c.HasSubCommands() {
		if _, rest, findErr := c.Root().Find(args); findErr == nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			return unknownCommand(c, rest[0])
		}
	}
	var unknown *pflag.NotExistError
	if errors.As(err, &unknown) && unknown.GetSpecifiedName() == "output" {
		return withHints(err, "the long name of -o is --format", "see `"+c.CommandPath()+" --help`")
	}
	return err
}

// helpCmd is cobra's own, except that a command that is not there is an error.
func helpCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]...",
		Short:   "Show the help of a command",
		Example: example("windlass help bundle merge"),
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usageError{err}
			}
			if len(rest) > 0 {
				return unknownCommand(c, rest[0])
			}
			c.InitDefaultHelpFlag()
			return c.Help()
		},
	}
}

// checkLine refuses what is wrong on every command line. An empty value is most
// often a variable that is not set, and "no passphrase" or "any identity" would
// be a dangerous reading of it.
func checkLine(c *cobra.Command, args []string) (err error) {
	stdin := 0
	for _, arg := range args {
		if arg == "" {
			return usagef("an argument is empty (a variable that is not set?)")
		}
		if arg == "-" {
			stdin++
		}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		for _, value := range valuesOf(f) {
			if value == "" && err == nil {
				err = usagef("--%s is empty (a variable that is not set?)", f.Name)
			}
			if value == "-" {
				stdin++
			}
		}
	})
	if err == nil && stdin > 1 {
		err = usagef("standard input (-) can be read once only, and is named %d times", stdin)
	}
	return err
}

func valuesOf(f *pflag.Flag) []string {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// args wraps cobra's check of positional arguments to say what is wanted.
func args(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check(cmd, args) != nil {
			return usagef("%s", what)
		}
		return nil
	}
}

// formatIn finds the format asked for anywhere on a command line.
func formatIn(args []string) string {
	format := "text"
	for i, arg := range args {
		value, found := strings.CutPrefix(arg, "--format=")
		if short, ok := strings.CutPrefix(arg, "-o"); ok && short != "" {
			value, found = strings.TrimPrefix(short, "="), true
		}
		if (arg == "-o" || arg == "--format") && i+1 < len(args) {
			value, found = args[i+1], true
		}
		if arg == "--" {
			break
		}
		if found && (value == "json" || value == "yaml") {
			format = value
		}
	}
	return format
}

var (
	cobraMissing   = regexp.MustCompile(`^required flag\(s\) (.+) not set$`)
	cobraOneOf     = regexp.MustCompile(`^at least one of the flags in the group \[(.+)\] is required$`)
	cobraExclusive = regexp.MustCompile(`^if any flags in the group .+ none of the others can be; \[(.+)\] were all set$`)
)

// wording says what is wrong with a command line as the rest of windlass would.
func wording(message string) string {
	flags := func(names string) string {
		return "--" + strings.Join(strings.FieldsFunc(names, func(r rune) bool { return strings.ContainsRune(`", `, r) }), ", --")
	}
	if m := cobraMissing.FindStringSubmatch(message); m != nil {
		return "missing " + flags(m[1])
	}
	if m := cobraOneOf.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("one of %s is needed", flags(m[1]))
	}
	if m := cobraExclusive.FindStringSubmatch(message); m != nil {
		return fmt.Sprintf("%s exclude each other", flags(m[1]))
	}
	return message
}
