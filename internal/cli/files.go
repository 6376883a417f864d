package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/windlass-mesh/windlass/internal/atomicfile"
)

// file is what a command is about to write.
type file struct {
	path string
	data []byte
	mode fs.FileMode
}

// outputs are the flags of a command that writes files.
type outputs struct{ force bool }

// check fails before any work is done for files that cannot or may not be
// written. The writing itself does not depend on it. Secrets are files that the
// command reads and that no output may replace, whatever --force says.
func (o *outputs) check(paths []string, secrets ...string) error {
	taken := make(map[string]bool)
	for _, s := range secrets {
		if s != "" {
			taken[resolve(s)] = true
		}
	}
	for _, p := range paths {
		if p == "" || p == "-" {
			return withHints(usagef("an output is a file, and %q names none", p), "./- is a file of that name")
		}
		at := resolve(p)
		if taken[at] {
			return usagef("%s would be written over a key, a passphrase or another output of this command", p)
		}
		taken[at] = true
		if err := o.checkOne(p, at); err != nil {
			return err
		}
	}
	return nil
}

func (o *outputs) checkOne(path, resolved string) error {
	dir := filepath.Dir(resolved)
	if info, err := os.Stat(dir); err != nil {
		return withHints(fileError("write", path, err), "the directory has to exist already")
	} else if !info.IsDir() {
		return withHints(fmt.Errorf("write %s: %s is not a directory", path, filepath.Dir(path)), "check the path; nothing was written")
	}
	// A symbolic link is replaced itself, but what it leads to tells of a
	// mistake: replacing the link /dev/stdout would outlive the command.
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return withHints(fmt.Errorf("write %s: it is a directory", path), "name a file in it; nothing was written")
	case err == nil && !info.Mode().IsRegular() || dir == "/dev" || strings.HasPrefix(dir, "/proc/"):
		return withHints(fmt.Errorf("write %s: not a regular file", path), "files are written whole or not at all, which pipes and devices cannot be")
	}
	if _, err := os.Lstat(path); err == nil && !o.force {
		return existsError(&fs.PathError{Op: "write", Path: path, Err: fs.ErrExist})
	}
	return nil
}

// resolve gives files that are one file one name: links of the directory are
// followed, one in the place of the file is not, for it would be replaced.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return filepath.Clean(path)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return abs
	}
	return filepath.Join(dir, filepath.Base(abs))
}

// commit writes all files or none, in order: a key before its certificate, so
// that no certificate is published whose key is not on the disk.
func (o *outputs) commit(files ...file) error {
	var g atomicfile.Group
	for _, f := range files {
		g.Add(f.path, f.data, atomicfile.Options{Mode: f.mode, Force: o.force})
	}
	err := g.Commit()
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist):
		return existsError(err)
	case errors.Is(err, fs.ErrPermission):
		return withHints(err, "check who may write to the directory; nothing was written")
	}
	return withHints(err, "nothing was written")
}

func existsError(err error) error {
	return withHints(err, "nothing was written; --force overwrites, and a key that is overwritten is lost")
}

// written adds to an error that came after the files stood what has become of
// them.
func written(err error, paths ...string) error {
	return withHints(err, "the files are written all the same: "+strings.Join(paths, ", "))
}

// fileError words an error of the file system: what, which file, why.
func fileError(what, name string, err error) error {
	var pathErr *fs.PathError
	why := err
	if errors.As(err, &pathErr) {
		why = pathErr.Err
	}
	err = fmt.Errorf("%s %s: %w", what, name, why)
	if what == "read" {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return withHints(err, "check the path; nothing was written")
		case errors.Is(err, fs.ErrPermission):
			return withHints(err, "check who may read it; nothing was written")
		case errors.Is(err, syscall.EISDIR):
			return withHints(err, "name the files in it")
		}
	}
	return err
}
