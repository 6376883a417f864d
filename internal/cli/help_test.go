package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/examples"
	"github.com/windlass-mesh/windlass/internal/cli"
)

// leaves calls f with every command that does something.
func leaves(t *testing.T, f func(*testing.T, *cobra.Command)) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() && !c.Hidden {
			t.Run(strings.ReplaceAll(strings.TrimPrefix(c.CommandPath(), "windlass "), " ", "_"), func(t *testing.T) { f(t, c) })
		}
	}
	walk(cli.Commands())
}

func TestEveryCommandExplainsItself(t *testing.T) {
	count := 0
	leaves(t, func(t *testing.T, c *cobra.Command) {
		count++
		require.NotEmpty(t, c.Short, "a Short")
		require.NotEmpty(t, c.Example, "an Example")
		require.LessOrEqual(t, len(c.Short), 80, "the Short fits on a line")
		c.Flags().VisitAll(func(f *pflag.Flag) {
			require.NotEmpty(t, f.Usage, "a usage text of --%s", f.Name)
			value, _ := pflag.UnquoteUsage(f)
			require.False(t, f.Value.Type() == "bool" && value != "", "--%s takes no value, and its help shows %q", f.Name, value)
			require.NotEqual(t, "string", value, "what --%s takes", f.Name)
		})
		for line := range strings.Lines(c.Long) {
			if !strings.HasPrefix(c.CommandPath(), "windlass completion") {
				require.LessOrEqual(t, len(line), 92, "the help fits on a terminal: %s", line)
			}
		}
	})
	require.GreaterOrEqual(t, count, 20, "commands are missing")
}

// Every example of every command runs as it stands there, in a directory with
// the files that it names. A file that is new to the
// examples is added to writePKI.
func TestEveryExampleRuns(t *testing.T) {
	pool := t.TempDir()
	writePKI(pool)
	require.NoError(t, copyInto(pool, examples.Manifests, "*.yaml"))
	t.Chdir(pool)
	exampleFleet(t)
	_, stderr, code := runThen(t, "", "issuer", "request", "--out-csr", "issuer.csr", "--out-key", "csr.key")
	require.Equal(t, cli.ExitOK, code, stderr)
	leaves(t, func(t *testing.T, c *cobra.Command) {
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			words := strings.Fields(line)
			require.Equal(t, "windlass", words[0], "an example is a command line: %s", line)
			require.Truef(t, strings.HasPrefix(line+" ", c.CommandPath()+" "), "%s is an example of another command", line)

			dir := t.TempDir()
			inputs := prepareExample(t, pool, dir, words[1:])
			before := snapshot(dir)
			t.Chdir(dir)
			stdout, stderr, code := runThen(t, "", words[1:]...)
			// A comparison or a verdict may well be no.
			if name := c.Name(); code != cli.ExitOK && !(code == cli.ExitNo && (name == "diff" || name == "verify" || name == "lint" || name == "check")) {
				t.Errorf("%s: exit code %d\n%s%s", line, code, stdout, stderr)
			}
			require.NotContains(t, stderr, "windlass:", line)
			for _, line := range before {
				require.Contains(t, snapshot(dir), line, "it leaves %v alone", inputs)
			}
			for i, w := range words {
				if strings.HasPrefix(w, "--out") && !strings.Contains(w, "passphrase") {
					require.FileExists(t, filepath.Join(dir, words[i+1]), line)
				}
			}
		}
	})
}

// prepareExample copies the files that a command line reads.
func prepareExample(t *testing.T, pool, dir string, words []string) (inputs []string) {
	t.Helper()
	for i, w := range words {
		if !strings.Contains(w, ".") || strings.HasPrefix(w, "-") {
			continue
		}
		if flag := words[max(i-1, 0)]; strings.HasPrefix(flag, "--out") && !strings.Contains(flag, "passphrase") ||
			flag == "--name" || flag == "--linkerd" || flag == "--trust-domain" || flag == "--at" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(pool, w))
		require.NoError(t, err, "an example names a file that writePKI does not make")
		require.NoError(t, os.WriteFile(filepath.Join(dir, w), data, 0o600))
		inputs = append(inputs, w)
	}
	return inputs
}
