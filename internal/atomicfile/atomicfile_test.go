package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// listing shows a directory as "name mode content" lines.
func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var out strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		require.NoError(t, err)
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		require.NoError(t, err)
		fmt.Fprintf(&out, "%s %o %s\n", e.Name(), info.Mode().Perm(), data)
	}
	return out.String()
}

func TestWriteIsPrivateByDefault(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Write(filepath.Join(dir, "key"), []byte("secret"), Options{}))
	require.NoError(t, Write(filepath.Join(dir, "crt"), []byte("public"), Options{Mode: 0o644}))
	require.Equal(t, "crt 644 public\nkey 600 secret\n", listing(t, dir))
}

func TestWriteNeverOverwritesUnlessForced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	require.NoError(t, os.WriteFile(path, []byte("old"), 0o644))

	err := Write(path, []byte("new"), Options{})
	require.ErrorIs(t, err, fs.ErrExist)
	require.Contains(t, err.Error(), path)
	require.Equal(t, "f 644 old\n", listing(t, dir))

	require.NoError(t, Write(path, []byte("new"), Options{Force: true}))
	require.Equal(t, "f 600 new\n", listing(t, dir), "a forced key file does not inherit the old mode")
}

func TestForceReplacesALinkAndNotItsTarget(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "target")
	require.NoError(t, os.WriteFile(elsewhere, []byte("target"), 0o600))
	path := filepath.Join(dir, "f")
	require.NoError(t, os.Symlink(elsewhere, path))

	require.ErrorIs(t, Write(path, []byte("new"), Options{}), fs.ErrExist)
	require.NoError(t, Write(path, []byte("new"), Options{Force: true}))
	require.Equal(t, "f 600 new\n", listing(t, dir))
	data, err := os.ReadFile(elsewhere)
	require.NoError(t, err)
	require.Equal(t, "target", string(data))
}

func TestADirectoryIsNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "d"), 0o700))
	err := Write(filepath.Join(dir, "d"), nil, Options{Force: true})
	require.ErrorIs(t, err, syscall.EISDIR)
}

func TestAMissingDirectoryIsNamed(t *testing.T) {
	err := Write(filepath.Join(t.TempDir(), "no", "f"), nil, Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestADirectoryWithoutPermissionGetsNothing(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("permission bits do not stop root")
	}
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o500))
	require.ErrorIs(t, Write(filepath.Join(dir, "f"), nil, Options{}), fs.ErrPermission)
	require.Empty(t, listing(t, dir))
}

func TestOneOfManyWritersWins(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var won atomic.Int64
	var winner atomic.Value
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			content := strings.Repeat(fmt.Sprint(i%10), 10_000)
			if err := Write(path, []byte(content), Options{}); err == nil {
				won.Add(1)
				winner.Store(content)
			} else if !errors.Is(err, fs.ErrExist) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, won.Load())
	require.Equal(t, "f 600 "+winner.Load().(string)+"\n", listing(t, dir))
}

func TestForcedWritersNeverMix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			if err := Write(path, []byte(strings.Repeat(fmt.Sprint(i%10), 10_000)), Options{Force: true}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, strings.Repeat(string(data[0]), 10_000), string(data))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
}

var errInjected = errors.New("no space left on device")

// each way in which the second of two files can fail
var failures = map[string]func(*operations){
	"write": func(o *operations) {
		o.write = func(f *os.File, data []byte) error {
			if strings.Contains(f.Name(), "second") {
				_, _ = f.Write(data[:len(data)/2])
				return errInjected
			}
			_, err := f.Write(data)
			return err
		}
	},
	"flush": func(o *operations) {
		o.sync = func(f *os.File) error {
			if strings.Contains(f.Name(), "second") {
				return errInjected
			}
			return f.Sync()
		}
	},
	"link": func(o *operations) {
		o.link = func(from, to string) error {
			if strings.HasSuffix(to, "second") {
				return errInjected
			}
			return os.Link(from, to)
		}
	},
	"rename": func(o *operations) {
		o.link = func(string, string) error { return syscall.EPERM } // leads to the way by rename
		o.rename = func(from, to string) error {
			if strings.HasSuffix(to, "second") {
				return errInjected
			}
			return os.Rename(from, to)
		}
	},
	"flush of the directory": func(o *operations) {
		calls := 0
		o.syncDir = func(string) error {
			if calls++; calls == 2 {
				return errInjected
			}
			return nil
		}
	},
}

func TestAFailedGroupLeavesNothing(t *testing.T) {
	for name, fail := range failures {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var g Group
			fail(&g.ops)
			g.Add(filepath.Join(dir, "first"), []byte("key"), Options{})
			g.Add(filepath.Join(dir, "second"), []byte("certificate"), Options{Mode: 0o644})
			require.ErrorIs(t, g.Commit(), errInjected)
			require.Empty(t, listing(t, dir))
		})
	}
}

func TestAFailedForcedGroupBringsTheOldFilesBack(t *testing.T) {
	for _, name := range []string{"write", "flush", "rename", "flush of the directory"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, "first"), []byte("old key"), 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "second"), []byte("old certificate"), 0o644))
			before := listing(t, dir)
			var g Group
			failures[name](&g.ops)
			g.Add(filepath.Join(dir, "first"), []byte("key"), Options{Force: true})
			g.Add(filepath.Join(dir, "second"), []byte("certificate"), Options{Force: true})
			require.ErrorIs(t, g.Commit(), errInjected)
			require.Equal(t, before, listing(t, dir))
		})
	}
}

func TestAGroupStopsAtAnExistingFileBeforeWriting(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "second"), []byte("old"), 0o644))
	var g Group
	g.Add(filepath.Join(dir, "first"), []byte("key"), Options{})
	g.Add(filepath.Join(dir, "second"), []byte("certificate"), Options{})
	require.ErrorIs(t, g.Commit(), fs.ErrExist)
	require.Equal(t, "second 644 old\n", listing(t, dir))
}

// The look before writing can be outrun; the link cannot.
func TestAFileThatAppearsMeanwhileStays(t *testing.T) {
	for _, hardLinks := range []bool{true, false} {
		dir := t.TempDir()
		path := filepath.Join(dir, "f")
		var g Group
		g.ops.sync = func(f *os.File) error { return os.WriteFile(path, []byte("theirs"), 0o644) }
		if !hardLinks {
			g.ops.link = func(string, string) error { return syscall.EPERM }
		}
		g.Add(path, []byte("ours"), Options{})
		require.ErrorIs(t, g.Commit(), fs.ErrExist)
		require.Equal(t, "f 644 theirs\n", listing(t, dir))
	}
}

func TestWithoutHardLinks(t *testing.T) {
	dir := t.TempDir()
	for _, force := range []bool{false, true} {
		var g Group
		g.ops.link = func(string, string) error { return syscall.ENOTSUP }
		g.Add(filepath.Join(dir, "f"), fmt.Appendf(nil, "forced: %v", force), Options{Force: force})
		require.NoError(t, g.Commit())
		require.Equal(t, fmt.Sprintf("f 600 forced: %v\n", force), listing(t, dir))
	}
}

// The earlier file is durable under its name before the later one has one.
func TestGroupOrder(t *testing.T) {
	dir := t.TempDir()
	var g Group
	var seen []string
	g.ops.syncDir = func(d string) error {
		_, errA := os.Stat(filepath.Join(dir, "a.key"))
		_, errB := os.Stat(filepath.Join(dir, "b.crt"))
		seen = append(seen, fmt.Sprint(errA == nil, errB == nil))
		return nil
	}
	g.Add(filepath.Join(dir, "a.key"), nil, Options{})
	g.Add(filepath.Join(dir, "b.crt"), nil, Options{})
	require.NoError(t, g.Commit())
	require.Equal(t, []string{"true false", "true true"}, seen)
	require.Error(t, g.Commit(), "a group serves once")
}

func TestTheSameFileTwice(t *testing.T) {
	dir := t.TempDir()
	var g Group
	g.Add(filepath.Join(dir, "f"), nil, Options{})
	g.Add(filepath.Join(dir, ".", "x", "..", "f"), nil, Options{Force: true})
	require.ErrorContains(t, g.Commit(), "twice")
}
