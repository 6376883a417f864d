package internal

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/windlass-mesh/windlass/"

// layers lists the packages from the bottom up. Each may import only those that
// stand above it in the list; a package that is not listed fails the test, so
// that a new one is put in its place on purpose.
var layers = []string{
	"internal/atomicfile",
	"internal/webpki",
	"internal/layout",
	"bundle",
	"issuer",
	"mesh/internal/wire",
	"mesh/internal/wiretest",
	"mesh/internal/portforward",
	"mesh",
	"mesh/health",
	"mesh/linkerd",
	"internal/cli",
	"cmd/windlass",
	"examples",
	"internal/testca",
	"internal/fakeapi",
	"internal/testbed/binaries",
	"internal/testbed",
	"internal/testbed/linkerdtest",
	"internal/testbed/cmd/tools",
	"internal/testbed/cmd/up",
	"examples/demo",
	"internal/benchtable",
	"internal/docgen",
	"internal",
	"docs",
}

// forTests reports whether a package is for tests and the demo: no product code
// imports it.
func forTests(name string) bool {
	return name == "internal/testca" || name == "internal/fakeapi" || name == "mesh/internal/wiretest" || strings.HasPrefix(name, "internal/testbed")
}

// isProgram reports whether a package is a command, or has tests alone.
func isProgram(name string) bool {
	switch name {
	case "internal/benchtable", "internal/docgen", "internal", "docs":
		return true
	}
	return strings.HasPrefix(name, "cmd/") || strings.HasPrefix(name, "examples") || strings.HasPrefix(name, "internal/testbed/cmd/")
}

// alone are packages that know nothing of each other although one stands above
// the other: what is trusted and what signs.
var alone = [][2]string{{"issuer", "bundle"}}

func TestPackagesImportOnlyWhatStandsAboveThem(t *testing.T) {
	rank := make(map[string]int)
	for i, p := range layers {
		rank[p] = i
	}
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		at, listed := rank[name]
		require.True(t, listed, "%s has no place in the list of layers", name)
		for _, imported := range p.Imports {
			other, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			require.Less(t, rank[other], at, "%s imports %s, which does not stand above it", name, other)
			require.False(t, forTests(other) && !forTests(name) && !strings.HasPrefix(name, "examples/"),
				"%s imports %s, which is for tests and the demo", name, other)
			for _, pair := range alone {
				require.NotEqual(t, pair, [2]string{name, other}, "%s and %s know nothing of each other", name, other)
			}
		}
	}
}

// The clock, randomness and the process belong to the commands: a library that
// reads or ends them cannot be used in another program, nor tested.
func TestLibrariesDoNotPrintExitOrReadTheClock(t *testing.T) {
	forbidden := []string{"time.Now(", "time.Since(", "os.Exit(", "log.Print", "fmt.Print", "os.Stdout", "os.Stderr"}
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		if isProgram(name) {
			continue
		}
		for _, file := range p.GoFiles {
			text := readFile(t, filepath.Join(p.Dir, file))
			for _, f := range forbidden {
				for n, line := range strings.Split(text, "\n") {
					code, _, _ := strings.Cut(line, "//")
					require.NotContains(t, code, f, "%s/%s line %d", name, file, n+1)
				}
			}
		}
	}
}

type goPackage struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles", module+"...").Output()
	require.NoError(t, err)
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		all = append(all, p)
	}
	require.Greater(t, len(all), 8)
	return all
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}
