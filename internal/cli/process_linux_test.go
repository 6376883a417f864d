package cli_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
)

// command is windlass in a process of its own, in dir.
func command(dir string, args ...string) *exec.Cmd {
	c := exec.Command("windlass", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "WINDLASS_TEST_NOW="+scriptNow)
	return c
}

// Of many runs that race for the same files exactly one wins, and its key
// belongs to its certificate; the others change nothing.
func TestOfManyRunsForOneFileOneWins(t *testing.T) {
	for range 5 {
		t.Chdir(t.TempDir())
		const runs = 8
		codes := make([]cli.ExitCode, runs)
		var wg sync.WaitGroup
		for i := range runs {
			env := testEnv(t)
			wg.Go(func() {
				codes[i] = cli.Run(context.Background(), []string{"root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key"}, env)
			})
		}
		wg.Wait()
		won := 0
		for _, c := range codes {
			if c == cli.ExitOK {
				won++
			} else {
				require.Equal(t, cli.ExitFailed, c)
			}
		}
		require.Equal(t, 1, won, "%v", codes)
		requirePair(t, "x")
		require.Len(t, snapshot("."), 3, "the directory and two files: no temporary one is left")
	}
}

func requirePair(t *testing.T, name string) {
	t.Helper()
	cert, err1 := os.ReadFile(name + ".crt")
	key, err2 := os.ReadFile(name + ".key")
	require.NoError(t, errors.Join(err1, err2))
	require.NoError(t, keyBelongs(cert, key))
}

// A run that is killed leaves no certificate without its key and no half file,
// wherever it is killed. A hidden temporary file may stay behind: nothing can
// remove it any more.
func TestAKilledRunLeavesNoHalfOfAnything(t *testing.T) {
	if testing.Short() {
		t.Skip("some seconds")
	}
	dir := t.TempDir()
	outcomes := map[string]int{}
	// The moments circle around the one at which the files get their names.
	moment := float64(runTime(t))
	start := time.Now()
	enough := func() bool {
		spread := outcomes["nothing"]+outcomes["a key"] > 0 && outcomes["both"] > 0
		return time.Since(start) > 3*time.Second && spread || time.Since(start) > 30*time.Second
	}
	for i := 0; !enough(); i++ {
		name := fmt.Sprint("ca", i)
		c := command(dir, "root", "create", "--name", name, "--out-cert", name+".crt", "--out-key", name+".key")
		require.NoError(t, c.Start())
		timer := time.AfterFunc(time.Duration(moment*(0.8+0.4*rand.Float64())), func() { _ = c.Process.Kill() })
		_ = c.Wait() // killed or not is all the same
		timer.Stop()
		cert, certErr := os.ReadFile(filepath.Join(dir, name+".crt"))
		key, keyErr := os.ReadFile(filepath.Join(dir, name+".key"))
		switch {
		case certErr != nil && keyErr != nil:
			outcomes["nothing"]++
			moment *= 1.03
		case certErr != nil:
			outcomes["a key"]++
			require.True(t, bytes.HasSuffix(key, []byte("-----END PRIVATE KEY-----\n")), "a whole key")
		default:
			outcomes["both"]++
			moment *= 0.97
			require.NoError(t, keyErr, "a certificate without its key")
			require.NoError(t, keyBelongs(cert, key))
		}
	}
	for _, line := range snapshot(dir)[1:] {
		name := strings.TrimPrefix(strings.Fields(line)[0], "/")
		require.True(t, strings.HasPrefix(name, "ca") || strings.HasPrefix(name, ".ca") && strings.HasSuffix(name, ".tmp"), line)
		if strings.Contains(name, ".key") {
			require.Contains(t, line, "-rw-------", "for its owner alone from the first moment, leftover or not")
		}
	}
	t.Log(outcomes)
	require.Positive(t, outcomes["nothing"]+outcomes["a key"], "no run was killed in time")
	require.Positive(t, outcomes["both"], "every run was killed")
}

// runTime measures a whole run, so that the kills fall into it.
func runTime(t *testing.T) time.Duration {
	t.Helper()
	dir, start := t.TempDir(), time.Now()
	require.NoError(t, command(dir, "root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key").Run())
	return time.Since(start)
}

// Where the file system says no, nothing is left behind.
func TestAFullDiskLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("no small file system can be mounted here: %v", err)
	}
	defer func() { require.NoError(t, syscall.Unmount(dir, 0)) }()
	write(filepath.Join(dir, "filler"), nil, 0o600)
	f, err := os.OpenFile(filepath.Join(dir, "filler"), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.Write(make([]byte, 64<<10))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())
	before := snapshot(dir)
	var errs bytes.Buffer
	c := command(dir, "root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key")
	c.Stderr = &errs
	requireExit(t, cli.ExitFailed, c.Run())
	requireClear(t, "", windlassSays(errs.String()), "write x.key: no space left on device")
	require.Equal(t, before, snapshot(dir))
}

// A limit on the size of files stands for a full disk where none can be made.
func TestAFileThatMayNotGrowLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	var errs bytes.Buffer
	c := command(dir)
	c.Path, c.Args = "/bin/sh", []string{"sh", "-c", "ulimit -f 0; exec windlass root create --name x --out-cert x.crt --out-key x.key"}
	c.Stderr = &errs
	requireExit(t, cli.ExitFailed, c.Run())
	requireClear(t, "", windlassSays(errs.String()), "write x.key: file too large")
	require.Len(t, snapshot(dir), 1, "nothing is left")
}

// windlassSays takes out what an instrumented binary that cannot store its
// coverage adds.
func windlassSays(stderr string) string {
	var out strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "error: coverage ") && line != "\n" {
			out.WriteString(line)
		}
	}
	return out.String()
}

func requireExit(t *testing.T, want cli.ExitCode, err error) {
	t.Helper()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.Equal(t, int(want), exit.ExitCode())
}

// unprivileged makes a directory that everybody may enter and returns windlass
// as a user whom permissions bind; root runs it as nobody.
func unprivileged(t *testing.T) (dir string, run func(args ...string) (stderr string, err error)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "windlass-test-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	binary, err := exec.LookPath("windlass")
	require.NoError(t, err)
	attr := &syscall.SysProcAttr{}
	if os.Getuid() == 0 {
		attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		data, err := os.ReadFile(binary)
		require.NoError(t, err)
		own := filepath.Join(dir, "bin")
		require.NoError(t, os.Mkdir(own, 0o755))
		binary = filepath.Join(own, "windlass")
		write(binary, data, 0o755)
	}
	require.NoError(t, os.Chmod(dir, 0o755))
	work := filepath.Join(dir, "work")
	require.NoError(t, os.Mkdir(work, 0o755))
	return work, func(args ...string) (string, error) {
		var errs bytes.Buffer
		c := command(work, args...)
		c.Path, c.Stderr, c.SysProcAttr = binary, &errs, attr
		c.Err = nil
		err := c.Run()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
			t.Skipf("no other user can be taken on here: %v", err)
		}
		return windlassSays(errs.String()), err
	}
}

func TestPermissionsAreErrorsThatSayWhatToDo(t *testing.T) {
	dir, run := unprivileged(t)
	writePKI(dir)
	write(filepath.Join(dir, "closed.crt"), []byte("x"), 0o600)
	require.NoError(t, os.Chmod(filepath.Join(dir, "closed.crt"), 0))
	write(filepath.Join(dir, "closed.key"), []byte("x"), 0o600)
	require.NoError(t, os.Chmod(filepath.Join(dir, "closed.key"), 0))
	require.NoError(t, os.Chmod(filepath.Join(dir, "ca.key"), 0o644))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sealed"), 0o555))
	t.Cleanup(func() { _ = os.Chmod(filepath.Join(dir, "sealed"), 0o755) })
	before := snapshot(dir)
	for _, c := range []struct{ line, message, hint string }{
		{"bundle show closed.crt", "read closed.crt: permission denied", "check who may read it"},
		{"root reissue --cert closed.crt --key ca.key --out-cert x", "read closed.crt: permission denied", "check who may read it"},
		{"root reissue --cert ca.crt --key closed.key --out-cert sealed/x", "closed.key: permission denied", "check who may read it"},
		{"root reissue --cert ca.crt --key ca.key --out-cert sealed/x", "write sealed/x: permission denied", "check who may write to the directory"},
		{"root create --name x --out-cert sealed/x --out-key sealed/y", "write sealed/y: permission denied", "check who may write to the directory"},
		{"bundle merge ca.crt --out sealed/x", "write sealed/x: permission denied", "check who may write to the directory"},
	} {
		stderr, err := run(strings.Fields(c.line)...)
		requireExit(t, cli.ExitFailed, err)
		if i := strings.Index(stderr, "windlass: "); i > 0 {
			stderr = stderr[i:] // after the warning about a key that others can read
		}
		requireClear(t, "", stderr, c.message)
		require.Contains(t, stderr, c.hint, c.line)
	}
	require.Equal(t, before, snapshot(dir))
}
