// Package cli is the windlass command line: flags in, library calls, text or
// JSON out. It holds no knowledge of certificates of its own.
//
// The rules of its output, so that scripts and people can rely on them:
//
//   - Results go to standard output; everything else, progress and findings of
//     commands whose result is a file among it, to standard error.
//   - A terminal gets colour, a pipe does not; NO_COLOR is honoured. What comes
//     out of certificates and manifests cannot steer the terminal.
//   - An error is one line, "windlass: what failed: why", then lines that begin
//     with "hint: ". With -o json it is a JSON object on standard error, and
//     nothing else is there.
//   - Exit codes are those of type ExitCode.
//   - No command leaves a half-written file, or overwrites one without --force.
package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/windlass-mesh/windlass/issuer"
)

// Env is what the command line takes from the world around it.
type Env struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Getenv reads an environment variable, as os.Getenv does.
	Getenv func(string) string
	// Now is the clock.
	Now func() time.Time
	// Rand is the source of serial numbers; keys are drawn from the system's.
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

// app is one command line being carried out.
type app struct {
	Env
	ctx      context.Context // of this one command line; an app does not outlive it
	args     []string
	output   string // text, json or yaml
	begun    bool   // the command line was found sound, and its command runs
	warnings []issuer.Warning
}

// Run carries out one command line, without the program's name, and returns
// its exit code. When ctx ends, a command that waits for input fails; one that
// is about to write its files still does.
func Run(ctx context.Context, args []string, env Env) (code ExitCode) {
	out := &resultWriter{Writer: env.Stdout}
	env.Stdout = out
	a := &app{Env: env, ctx: ctx, args: args, output: "text"}
	root := a.rootCommand()
	defer func() {
		// Go's own exit code for a panic is 2, which is for wrong command lines.
		if v := recover(); v != nil {
			a.begun = true
			code = a.fail(root, withHints(fmt.Errorf("internal error: %v", v), "this is a bug in windlass; please report it"))
			if a.output == "text" {
				_, _ = a.Stderr.Write(debug.Stack())
			}
		}
	}()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil && out.err != nil { // help, say, whose writer does not look
		a.begun = true
		err = out.err
	}
	if err == nil {
		return ExitOK
	}
	return a.fail(cmd, err)
}

// resultWriter says what failed, also for those who write and do not look.
type resultWriter struct {
	io.Writer
	err error
}

func (w *resultWriter) Write(p []byte) (int, error) {
	n, err := w.Writer.Write(p)
	if err != nil {
		err = fmt.Errorf("write the result: %w", err)
		w.err = err
	}
	return n, err
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
	}
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)
	// The long name is not --output, which is the directory of `rotate`.
	root.PersistentFlags().VarP(&enumFlag{&a.output, []string{"text", "json", "yaml"}}, "format", "o", "output format")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		// Flags behind the wrong one were not read.
		if a.output == "text" {
			a.output = formatIn(a.args)
		}
		return explainFlag(cmd, a.args, err)
	})
	root.AddCommand(a.rootCmd(), a.issuerCmd(), a.bundleCmd(), a.surveyCmd(), a.checkCmd(), a.linkCmd(), a.versionCmd())
	root.SetHelpCommand(helpCmd())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" {
			for _, shell := range c.Commands() {
				shell.Example = example(shell.CommandPath())
			}
		}
	}
	a.prepare(root)
	return root
}

// example joins lines so that each stands indented in the help.
func example(lines ...string) string {
	return "  " + strings.Join(lines, "\n  ")
}
