package cli_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
)

// runThen carries out a command line at the scripts' moment, in this process.
func runThen(t testing.TB, stdin string, args ...string) (stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	return runIn(t, strings.NewReader(stdin), args...)
}

func runIn(t testing.TB, stdin io.Reader, args ...string) (stdout, stderr string, code cli.ExitCode) {
	t.Helper()
	var out, errs bytes.Buffer
	env := testEnv(t)
	env.Stdin, env.Stdout, env.Stderr = stdin, &out, &errs
	code = cli.Run(context.Background(), args, env)
	return out.String(), errs.String(), code
}

func testEnv(t testing.TB) cli.Env {
	t.Helper()
	now, err := time.Parse(time.RFC3339, scriptNow)
	require.NoError(t, err)
	return cli.Env{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard,
		Getenv: func(string) string { return "" }, Now: func() time.Time { return now }, Rand: rand.Reader,
	}
}
