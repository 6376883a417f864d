package cli_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/windlass-mesh/windlass/internal/cli"
)

// soundLines are command lines that work in a directory made by writePKI, one
// at least for each file that a command reads.
var soundLines = []string{
	"root reissue --cert ca.crt --key ca.key --key-passphrase-file pass.txt --out-cert OUT1",
	"root cross-sign --cert ca-new.crt --by ca.crt --by-key ca.key --issuer issuer.crt --out OUT1",
	"issuer create --root ca-new.crt --root-key ca-new.key --cross-signed cross-signed.crt --out-cert OUT1 --out-key OUT2",
	"issuer sign --csr issuer.csr --root ca-new.crt --root-key ca-new.key --cross-signed cross-signed.crt --out-cert OUT1",
	"bundle merge bundle.crt --issuer issuer.crt --compact --out OUT1",
	"bundle show bundle.crt",
	"bundle diff bundle.crt bundle.crt",
	"bundle lint bundle.crt",
	"bundle verify --anchors bundle.crt --issuer issuer.crt",
	"bundle verify --anchors bundle.crt --chain presented.pem",
}

// inputsOf are the places of a command line at which it names a file to read.
func inputsOf(words []string) (at []int) {
	for i, w := range words {
		if strings.HasPrefix(w, "-") || !strings.Contains(w, ".") {
			continue
		}
		at = append(at, i)
	}
	return at
}

func newPKI(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	writePKI(dir)
	t.Chdir(dir)
	_, stderr, code := runThen(t, "", "issuer", "request", "--out-csr", "issuer.csr", "--out-key", "csr.key")
	require.Equal(t, cli.ExitOK, code, stderr)
	return dir
}

func TestSoundLinesWork(t *testing.T) {
	newPKI(t)
	for _, line := range soundLines {
		_, stderr, code := runThen(t, "", strings.Fields(line)...)
		require.Equal(t, cli.ExitOK, code, "%s: %s", line, stderr)
		for _, out := range []string{"OUT1", "OUT2"} {
			_ = os.Remove(out)
		}
	}
}

// requireClear wants an error that a person can act on: one line that names
// the file, hints, nothing on standard output.
func requireClear(t *testing.T, stdout, stderr string, names ...string) {
	t.Helper()
	require.Empty(t, stdout)
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	require.True(t, strings.HasPrefix(lines[0], "windlass: "), stderr)
	require.Greater(t, len(lines), 1, "a hint: %s", stderr)
	for _, hint := range lines[1:] {
		require.True(t, strings.HasPrefix(hint, "hint: "), stderr)
	}
	for _, n := range names {
		require.Contains(t, lines[0], n)
	}
	require.NotContains(t, stderr, "%!", "a format that does not fit its arguments")
}

// Every file that any command reads, replaced by every kind of wrong file.
func TestWrongFilesAreRefusedAndNothingIsWritten(t *testing.T) {
	dir := newPKI(t)
	cert, err := os.ReadFile("ca.crt")
	require.NoError(t, err)
	block, _ := pem.Decode(cert)
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, err = zw.Write([]byte("-----BEGIN CERTIFICATE-----\n"))
	require.NoError(t, errors.Join(err, zw.Close()))
	noise := make([]byte, 4000)
	for i, r := 0, rand.New(rand.NewPCG(1, 2)); i < len(noise); i++ {
		noise[i] = byte(r.Uint32())
	}
	key, err := os.ReadFile("ca.key")
	require.NoError(t, err)
	wrong := map[string][]byte{
		"wrong-empty":  {},
		"wrong-noise":  noise,
		"wrong-der":    block.Bytes,
		"wrong-gzip":   packed.Bytes(),
		"wrong-png":    []byte("\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"),
		"wrong-utf16":  []byte("\xff\xfe-\x00-\x00-\x00"),
		"wrong-yaml":   []byte("kind: Pod\n  a: b\n"),
		"wrong-prose":  []byte("the root is in the safe\n"),
		"wrong-broken": []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
	}
	for name, data := range wrong {
		write(name, data, 0o600)
	}
	require.NoError(t, os.Mkdir("wrong-directory", 0o700))
	write("wrong-huge", nil, 0o600)
	require.NoError(t, os.Truncate("wrong-huge", 100<<20)) // takes no room on the disk
	kinds := append([]string{"wrong-missing", "wrong-directory", "wrong-huge", "ca.key"}, slices.Sorted(maps.Keys(wrong))...)

	for _, line := range soundLines {
		words := strings.Fields(line)
		for _, at := range inputsOf(words) {
			if strings.HasSuffix(words[at-1], "passphrase-file") {
				continue // not opened for a key in clear; see passphrases.txtar
			}
			isKey := strings.HasSuffix(words[at-1], "-key") || words[at-1] == "--key"
			for _, kind := range kinds {
				if isKey && kind == "ca.key" {
					kind = "csr.key" // a key, but not that of the certificate
				}
				bad := slices.Clone(words)
				bad[at] = kind
				t.Run(strings.Join(words[:2], " ")+" "+words[at-1]+" "+kind, func(t *testing.T) {
					before := snapshot(dir)
					stdout, stderr, code := runThen(t, "", bad...)
					require.Equal(t, before, snapshot(dir), "nothing is written")
					require.NotContains(t, stdout+stderr, string(key[40:80]), "a key is never shown")
					if code == cli.ExitNo { // a verdict on what a consumer would make of it
						require.Contains(t, []string{"lint", "verify"}, words[1], stderr)
						require.NotEmpty(t, stdout)
						require.NotContains(t, stderr, "windlass:")
						return
					}
					require.Equal(t, cli.ExitFailed, code, stderr)
					if kind == "csr.key" {
						requireClear(t, stdout, stderr, "does not belong to the certificate")
						return
					}
					requireClear(t, stdout, stderr, kind)
				})
			}
		}
	}
}

// An endless input is left after as much as a source may hold.
func TestEndlessInputIsNotReadToTheEnd(t *testing.T) {
	read := &endless{}
	_, stderr, code := runIn(t, read, "bundle", "show", "-")
	require.Equal(t, cli.ExitFailed, code)
	require.Contains(t, stderr, "read standard input: larger than 64 MiB")
	require.Less(t, read.n, 80<<20)
}

type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.n += len(p)
	return len(p), nil
}

// A huge file is told by its size alone.
func TestAHugeFileIsNotRead(t *testing.T) {
	newPKI(t)
	write("huge", nil, 0o600)
	require.NoError(t, os.Truncate("huge", 1<<40))
	for _, args := range [][]string{
		{"bundle", "show", "huge"},
		{"root", "reissue", "--cert", "huge", "--key", "ca.key", "--out-cert", "x"},
		{"root", "reissue", "--cert", "ca.crt", "--key", "huge", "--out-cert", "x"},
		{"issuer", "sign", "--csr", "huge", "--root", "ca.crt", "--root-key", "ca.key", "--out-cert", "x"},
	} {
		stdout, stderr, code := runThen(t, "", args...)
		require.Equal(t, cli.ExitFailed, code)
		requireClear(t, stdout, stderr, "huge")
	}
	require.NoFileExists(t, "x")
}

// Whoever waits at an input that never comes is let go.
func TestASignalEndsTheWaiting(t *testing.T) {
	in, feed := io.Pipe()
	defer feed.Close()
	ctx, cancel := context.WithCancel(context.Background())
	var errs bytes.Buffer
	env := testEnv(t)
	env.Stdin, env.Stderr = readerFunc(func(p []byte) (int, error) {
		cancel() // the command is waiting now
		return in.Read(p)
	}), &errs
	require.Equal(t, cli.ExitFailed, cli.Run(ctx, []string{"bundle", "show", "-"}, env))
	require.Contains(t, errs.String(), "interrupted")
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A result that cannot be written fails every command, whatever it is.
func TestAResultThatCannotBeWrittenIsAFailure(t *testing.T) {
	newPKI(t)
	lines := append(slices.Clone(soundLines), "version", "completion bash", "completion fish", "help", "bundle", "bundle show --help",
		"bundle show bundle.crt -o json", "bundle diff ca.crt ca-new.crt -o yaml", "bundle merge bundle.crt")
	for _, line := range lines {
		if strings.HasPrefix(line, "bundle merge") && strings.Contains(line, "--out") {
			continue // its text says what it wrote on standard error
		}
		var errs bytes.Buffer
		env := testEnv(t)
		env.Stdout, env.Stderr = failingWriter{}, &errs
		require.Equal(t, cli.ExitFailed, cli.Run(context.Background(), strings.Fields(line), env), line)
		require.Contains(t, errs.String(), "write the result: the disk is full", line)
		for _, out := range []string{"OUT1", "OUT2"} {
			if _, err := os.Stat(out); err == nil {
				require.Contains(t, errs.String(), "the files are written all the same: OUT1", line)
				require.NoError(t, os.Remove(out))
			}
		}
	}
}

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("the disk is full") }

// A mistake of our own is a failure too, not a wrong command line (Go's panics
// exit with 2).
func TestAPanicIsAFailure(t *testing.T) {
	var errs bytes.Buffer
	env := testEnv(t)
	env.Stderr, env.Now = &errs, nil
	newPKI(t)
	require.Equal(t, cli.ExitFailed, cli.Run(context.Background(), []string{"bundle", "show", "ca.crt"}, env))
	require.Contains(t, errs.String(), "windlass: internal error: ")
	require.Contains(t, errs.String(), "hint: this is a bug in windlass")
}
