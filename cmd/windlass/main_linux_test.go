package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/require"
	"golang.org/x/term"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"windlass": main})
}

func exitCode(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	_ = c.Wait() // the state says it all
	require.True(t, c.ProcessState.Exited(), "%v", c.ProcessState)
	return c.ProcessState.ExitCode()
}

func TestTheCommandRuns(t *testing.T) {
	dir := t.TempDir()
	c := exec.Command("windlass", "root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key")
	c.Dir = dir
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	info, err := os.Stat(filepath.Join(dir, "x.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	c = exec.Command("windlass", "bundle", "frob")
	require.NoError(t, c.Start())
	require.Equal(t, 2, exitCode(t, c))
}

// Ctrl-C ends a command that waits for its input, with an error of its own.
func TestASignalEndsACommandThatWaits(t *testing.T) {
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		// A pipe with a name tells when the command has opened it.
		fifo := filepath.Join(t.TempDir(), "fifo")
		require.NoError(t, syscall.Mkfifo(fifo, 0o600))
		var errs bytes.Buffer
		c := exec.Command("windlass", "bundle", "show", fifo)
		c.Stderr = &errs
		require.NoError(t, c.Start())
		w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for the reader
		require.NoError(t, err)
		require.NoError(t, c.Process.Signal(s))
		require.Equal(t, 1, exitCode(t, c))
		require.Contains(t, errs.String(), "windlass: interrupted; nothing was written")
		require.NoError(t, w.Close())
	}
}

// terminal opens a pseudo terminal: what a person sees and types at, and what
// the command has for standard input.
func terminal(t *testing.T) (person, command *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { person.Close() })
	var number, unlock int32
	for request, arg := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlock, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(arg))); errno != 0 {
			t.Skipf("no pseudo terminals here: %v", errno)
		}
	}
	command, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo terminals here: %v", err)
	}
	t.Cleanup(func() { command.Close() })
	return person, command
}

// echoes tells whether a terminal shows what is typed.
func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	var state syscall.Termios
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&state)))
	require.Zero(t, errno)
	return state.Lflag&syscall.ECHO != 0
}

// prompted starts a command at a terminal and returns once it waits, without
// echo, for a passphrase.
func prompted(t *testing.T, c *exec.Cmd, person, terminal *os.File) {
	t.Helper()
	c.Stdin, c.Stderr = terminal, terminal
	require.NoError(t, c.Start())
	require.Contains(t, readUntil(t, person, ": "), "passphrase of x.key")
	require.Eventually(t, func() bool { return !echoes(t, terminal) }, time.Minute, time.Millisecond)
}

func readUntil(t *testing.T, r io.Reader, end string) string {
	t.Helper()
	var text strings.Builder
	for b := make([]byte, 1); !strings.HasSuffix(text.String(), end); {
		_, err := r.Read(b)
		require.NoError(t, err, text.String())
		text.Write(b)
	}
	return text.String()
}

func TestAPassphraseIsAskedWithoutEcho(t *testing.T) {
	person, tty := terminal(t)
	dir := t.TempDir()
	c := exec.Command("windlass", "root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key", "--out-key-passphrase-ask")
	c.Dir = dir
	prompted(t, c, person, tty)
	_, err := person.WriteString("correct horse\n")
	require.NoError(t, err)
	shown := readUntil(t, person, "the same again: ")
	require.Eventually(t, func() bool { return !echoes(t, tty) }, time.Minute, time.Millisecond)
	_, err = person.WriteString("correct horse\n")
	require.NoError(t, err)
	require.Equal(t, 0, exitCode(t, c))
	require.True(t, echoes(t, tty), "the terminal is as before")
	require.NotContains(t, shown, "horse")

	c = exec.Command("windlass", "root", "reissue", "--cert", "x.crt", "--key", "x.key", "--out-cert", "y.crt")
	c.Dir = dir
	prompted(t, c, person, tty)
	_, err = person.WriteString("correct horse\n")
	require.NoError(t, err)
	require.Equal(t, 0, exitCode(t, c))
	require.FileExists(t, filepath.Join(dir, "y.crt"))
}

// Ctrl-C at the question leaves the terminal as it was and writes nothing.
func TestASignalAtTheQuestionRestoresTheTerminal(t *testing.T) {
	person, tty := terminal(t)
	require.True(t, term.IsTerminal(int(tty.Fd())))
	dir := t.TempDir()
	c := exec.Command("windlass", "root", "create", "--name", "x", "--out-cert", "x.crt", "--out-key", "x.key", "--out-key-passphrase-ask")
	c.Dir = dir
	prompted(t, c, person, tty)
	require.NoError(t, c.Process.Signal(os.Interrupt))
	require.Equal(t, 1, exitCode(t, c))
	require.True(t, echoes(t, tty), "the terminal echoes again")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
}

// A terminal gets colour.
func TestATerminalGetsColour(t *testing.T) {
	person, tty := terminal(t)
	c := exec.Command("windlass", "bundle", "show", "nope.crt")
	c.Stderr = tty
	c.Env = append(os.Environ(), "NO_COLOR=")
	require.NoError(t, c.Start())
	require.Equal(t, 1, exitCode(t, c))
	require.Contains(t, readUntil(t, person, "directory"), "\x1b[31mwindlass:\x1b[0m read nope.crt")
}
