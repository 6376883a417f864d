package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// usageError is a wrong command line that only the command itself can tell.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error and what to try about it.
type hinted struct {
	error
	hints []string
}

func (e hinted) Unwrap() error { return e.error }

// withHints adds what a person can do to an error. Hints belong to the command
// line alone: a library does not know how it is called.
func withHints(err error, hints ...string) error {
	if err == nil {
		return nil
	}
	return hinted{err, hints}
}

// answer ends a command whose result, already written, has an exit code of its
// own: no message follows.
type answer ExitCode

func (a answer) Error() string { return fmt.Sprintf("exit code %d", int(a)) }

// fail reports err, with which cmd ended, and returns the exit code for it.
func (a *app) fail(cmd *cobra.Command, err error) ExitCode {
	var done answer
	if errors.As(err, &done) {
		return ExitCode(done)
	}
	code, message, hints := ExitFailed, err.Error(), hintsOf(err)
	var usage usageError
	if !a.begun || errors.As(err, &usage) {
		code, message = ExitUsage, wording(message)
		if len(hints) == 0 {
			hints = []string{"see `" + cmd.CommandPath() + " --help`"}
		}
	}
	message = oneLine(message)
	if a.output == "json" {
		report := struct {
			Error string   `json:"error"`
			Hints []string `json:"hints,omitempty"`
			Code  ExitCode `json:"code"`
		}{message, hints, code}
		enc := json.NewEncoder(a.Stderr)
		enc.SetEscapeHTML(false)
		// Nothing is left to do about an error stream that cannot be written.
		_ = enc.Encode(report)
		return code
	}
	fmt.Fprintf(a.Stderr, "%s %s\n", a.errStyle().bad("windlass:"), visible(message))
	for _, h := range hints {
		fmt.Fprintf(a.Stderr, "hint: %s\n", visible(oneLine(h)))
	}
	return code
}

func hintsOf(err error) (hints []string) {
	for err != nil {
		var h hinted
		if !errors.As(err, &h) {
			break
		}
		hints = append(hints, h.hints...)
		err = h.error
	}
	return hints
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
