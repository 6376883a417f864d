package docs

import (
	"bytes"
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/bundle"
	"github.com/windlass-mesh/windlass/internal/cli"
	"github.com/windlass-mesh/windlass/mesh/health"
)

// shown is the moment at which the pages' output was made.
var shown = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// Every console block of a page is a session: lines that begin with "$ " are
// commands, the lines below are what they print. Commands of one page run in
// order in one directory that has the examples. Key ids and fingerprints differ
// from run to run, and so does the width of columns that hold them.
func TestPagesShowWhatCommandsPrint(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	require.NoError(t, err)
	ran := 0
	for _, page := range append(pages, "../README.md") {
		t.Run(filepath.Base(page), func(t *testing.T) {
			text, err := os.ReadFile(page)
			require.NoError(t, err)
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")))
			t.Chdir(dir)
			for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
				for _, step := range strings.Split("\n"+block[1], "\n$ ")[1:] {
					command, want, _ := strings.Cut(step, "\n")
					ran++
					require.Equal(t, normal(want), normal(runLine(t, command)), "$ %s", command)
				}
			}
		})
	}
	require.Greater(t, ran, 8, "hardly any command was found in the pages")
}

func runLine(t *testing.T, line string) string {
	t.Helper()
	words := strings.Fields(line)
	var out bytes.Buffer
	switch words[0] {
	case "windlass", "bin/windlass":
	case "make":
		return "" // targets are run by those who run the tests
	default:
		t.Fatalf("a page shows %q, which this test cannot run", line)
	}
	var exit string
	args := words[1:]
	if n := len(args); n >= 3 && args[n-3] == ";" && args[n-2] == "echo" && args[n-1] == "$?" {
		args = args[:n-3]
		exit = "x"
	}
	code := cli.Run(context.Background(), args, cli.Env{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Getenv: func(string) string { return "" }, Now: func() time.Time { return shown }, Rand: rand.Reader,
	})
	if exit != "" {
		out.WriteString(string('0' + rune(code)))
		out.WriteString("\n")
	} else if code != cli.ExitOK {
		t.Fatalf("$ %s: exit code %d\n%s", line, code, out.String())
	}
	return out.String()
}

var (
	hexDigits = regexp.MustCompile(`\b[0-9a-f]{8,64}\b`)
	spaces    = regexp.MustCompile(` +`)
)

// normal removes what differs from run to run.
func normal(s string) string {
	s = hexDigits.ReplaceAllString(s, "HEX")
	var lines []string
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		lines = append(lines, strings.TrimSpace(spaces.ReplaceAllString(l, " ")))
	}
	return strings.Join(lines, "\n")
}

// The page of findings documents every code, and no code that does not exist.
func TestFindingsPageListsEveryCode(t *testing.T) {
	text, err := os.ReadFile("findings.md")
	require.NoError(t, err)
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^### `([a-z-]+)`").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	source, err := os.ReadFile("../bundle/finding.go")
	require.NoError(t, err)
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`Code\s+= "([a-z-]+)"`).FindAllStringSubmatch(string(source), -1) {
		known[m[1]] = true
	}
	require.Contains(t, known, string(bundle.CodeExpired))
	require.Equal(t, known, documented)
}

// So does the page about clusters, for the codes of package health.
func TestHealthPageListsEveryCode(t *testing.T) {
	text, err := os.ReadFile("health.md")
	require.NoError(t, err)
	var documented, known []string
	for _, m := range regexp.MustCompile("(?m)^### `([a-z-]+)`").FindAllStringSubmatch(string(text), -1) {
		documented = append(documented, m[1])
	}
	for _, c := range health.Codes() {
		known = append(known, string(c))
	}
	require.ElementsMatch(t, known, documented)
}
