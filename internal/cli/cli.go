// Package cli is the windlass command line: flags in, library calls, text or
// JSON out. It holds no knowledge of certificates of its own.
//
// The rules of its output, so that scripts and people can rely on them:
//
//   - Results go to standard output; everything else, progress and findings of
//     commands whose result is a file among it, to standard error.
//   - A terminal gets colour, a pipe does not; NO_COLOR is honoured.
//   - An error is one line, "windlass: what failed: why", then lines that begin
//     with "hint: ". With -o json it is a JSON object on standard error.
//   - Exit codes are those of type ExitCode.
//   - No command leaves a half-written file, or overwrites one without --force.
package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Env is what the command line takes from the world around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Getenv reads an environment variable, as os.Getenv does.
	Getenv func(string) string
	// Now is the clock.
	Now func() time.Time
	// Rand is the source of keys and serial numbers.
	Rand io.Reader
	// StdoutIsTerminal and StderrIsTerminal switch colour on.
	StdoutIsTerminal, StderrIsTerminal bool
	// AskPassphrase shows the prompt and reads a line without echo; nil where
	// there is no terminal to ask at.
	AskPassphrase func(prompt string) ([]byte, error)
}

// ExitCode is what a command leaves to scripts.
type ExitCode int

// The exit codes.
const (
	ExitOK       ExitCode = 0 // done, or all is well
	ExitFailed   ExitCode = 1 // it failed: the message says what, where, and what to try
	ExitUsage    ExitCode = 2 // the command line is wrong
	ExitNo       ExitCode = 3 // the answer is no: a check failed, a chain does not verify
	ExitExpiring ExitCode = 4 // well now, but something expires within --fail-within
	ExitPending  ExitCode = 5 // not finished: running again carries on
)

// app carries the environment and the flags that all commands share.
type app struct {
	Env
	output string // text, json or yaml
}

// Run carries out one command line, without the program's name, and returns
// its exit code.
func Run(ctx context.Context, args []string, env Env) ExitCode {
	a := &app{Env: env, output: "text"}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return ExitOK
	}
	return a.fail(err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "windlass",
		Short: "Certificates and trust anchors for service meshes",
		Long: `Windlass manages certificates and trust anchors for service meshes: it creates
roots and issuers, merges the anchors that clusters already have into bundles,
and proves which certificate chains verify where.

Exit codes: 0 done or well, 1 failed, 2 wrong command line, 3 the answer is no,
4 well but expiring within --fail-within, 5 not finished.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(*cobra.Command, []string) error {
			switch a.output {
			case "text", "json", "yaml":
				return nil
			}
			bad := a.output
			a.output = "text"
			return usagef("unknown output format %q: use text, json or yaml", bad)
		},
	}
	// The long name is not --output, which is the directory of `rotate`.
	root.PersistentFlags().StringVarP(&a.output, "format", "o", "text", "output format: text, json or yaml")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return withHints(usageError{err}, "see `"+cmd.CommandPath()+" --help`")
	})
	root.AddCommand(a.rootCmd(), a.issuerCmd(), a.bundleCmd(), a.versionCmd())
	for _, c := range root.Commands() {
		requireSubcommand(c)
	}
	return root
}

// requireSubcommand makes a noun without a verb show its help, and one with a
// wrong verb an error: cobra alone would call both a success.
func requireSubcommand(c *cobra.Command) {
	if !c.HasSubCommands() || c.RunE != nil || c.Run != nil {
		return
	}
	c.Args = cobra.ArbitraryArgs
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := usagef("unknown command %q for %q", args[0], cmd.CommandPath())
		hints := []string{"see `" + cmd.CommandPath() + " --help`"}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hints = append([]string{"did you mean `" + cmd.CommandPath() + " " + near[0] + "`?"}, hints...)
		}
		return withHints(err, hints...)
	}
}

// args wraps cobra's check of positional arguments so that a violation is a
// usage error.
func args(check cobra.PositionalArgs, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return withHints(usagef("%s: %s", cmd.CommandPath(), what), "see `"+cmd.CommandPath()+" --help`")
		}
		return nil
	}
}

// example joins lines so that each stands indented in the help.
func example(lines ...string) string {
	return "  " + strings.Join(lines, "\n  ")
}

func isUsage(err error) bool {
	var u usageError
	return errors.As(err, &u) || strings.HasPrefix(err.Error(), "unknown command") ||
		strings.HasPrefix(err.Error(), "required flag(s)") || strings.HasPrefix(err.Error(), "if any flags in the group") ||
		strings.HasPrefix(err.Error(), "at least one of the flags in the group")
}
