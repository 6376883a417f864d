package testbed

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const crashDir = "WINDLASS_TESTBED_CRASH_DIR"

// TestHelperHoldsABed is no test: the test below runs it in a process of its
// own, which it kills.
func TestHelperHoldsABed(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("not by itself")
	}
	b, err := Up(t.Context(), Options{Dir: dir})
	require.NoError(t, err)
	c := b.Clusters[0]
	fmt.Printf("\nbed %s %d %d %d\n", b.space.dir, b.Etcd.PID(), c.API.PID(), c.Controllers.PID())
	_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
}

func TestNothingIsLeftOfAKilledTest(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a test bed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	parent := t.TempDir()
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestHelperHoldsABed$", "-test.v")
	cmd.Env = append(os.Environ(), crashDir+"="+parent)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	var dir string
	var pids [3]int
	var said strings.Builder
	for lines := bufio.NewScanner(stdout); dir == "" && lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		_, _ = fmt.Sscanf(lines.Text(), "bed %s %d %d %d", &dir, &pids[0], &pids[1], &pids[2])
	}
	require.NotEmpty(t, dir, said.String())
	for _, pid := range pids {
		require.True(t, alive(pid))
	}
	require.FileExists(t, filepath.Join(dir, "alive"))

	// A living bed is swept by nobody.
	other, err := newSpace(parent)
	require.NoError(t, err)
	require.DirExists(t, dir)
	other.release()

	require.NoError(t, cmd.Process.Kill())
	_ = cmd.Wait() // it was killed
	for _, pid := range pids {
		require.NoError(t, Until(ctx, func(context.Context) (bool, error) { return !alive(pid), nil }))
	}
	next, err := newSpace(parent)
	require.NoError(t, err)
	defer next.release()
	require.NoDirExists(t, dir)
}

// alive is false for a zombie, too: what is dead may not have been reaped.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z")
}
