// Package atomicfile writes files that are either there as a whole or not
// there at all.
//
// Each file is written beside its destination under a hidden temporary name,
// with its final mode from the first moment, is flushed to disk, and only then
// gets its name; afterwards the directory is flushed too. When Write or Commit
// returns nil the content survives a power cut. When they return an error,
// nothing of the new content is left and what stood there before stands there
// again.
//
// Nothing is overwritten unless Force is set, and that does not depend on a
// look beforehand: of several writers that race for one name exactly one wins,
// the others get an error for which errors.Is(err, fs.ErrExist) holds.
//
//	err := atomicfile.Write("ca.crt", pem, atomicfile.Options{Mode: 0o644})
//
// A [Group] writes several files that belong together, such as a key and its
// certificate, in the order in which they were added.
package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
)

// Options say how a file is written. The zero value is for secrets: mode 0600,
// never overwriting.
type Options struct {
	// Mode is the file's permission bits; the process's umask may narrow them.
	// Zero means 0600.
	Mode fs.FileMode
	// Force replaces a file that is there already. A symbolic link is replaced
	// itself, not what it points to.
	Force bool
}

// Write writes one file; see the package comment for what that promises. The
// directory must exist.
func Write(path string, data []byte, opts Options) error {
	var g Group
	g.Add(path, data, opts)
	return g.Commit()
}

// Group is a set of files that are written together: all contents reach the
// disk before the first file gets its name, then the files get their names in
// the order of Add, each made durable before the next. A reader who sees a
// later file therefore always finds the earlier ones: add a key before its
// certificate. The zero value is ready for use; a Group serves one Commit.
type Group struct {
	files []*file
	ops   operations
	done  bool
}

type file struct {
	path, temp, backup string
	data               []byte
	opts               Options
	placed             bool
}

// Add puts a file on the list. Nothing is written before Commit; data must not
// be changed until then.
func (g *Group) Add(path string, data []byte, opts Options) {
	if opts.Mode == 0 {
		opts.Mode = 0o600
	}
	g.files = append(g.files, &file{path: path, data: data, opts: opts})
}

// Commit writes all files or none. On an error the files that already had
// their names lose them again, and overwritten ones come back. A crash between
// two names cannot be undone: then the earlier files are there whole, and
// files that were being overwritten may still have a hidden ".old" twin.
func (g *Group) Commit() (err error) {
	if g.done {
		return errors.New("atomicfile: this group was committed before")
	}
	g.done = true
	g.ops.fillIn()

	seen := map[string]bool{}
	for _, f := range g.files {
		clean, err := filepath.Abs(f.path)
		if err != nil {
			return err
		}
		if seen[clean] {
			return fmt.Errorf("write %s: the same file is asked for twice", f.path)
		}
		seen[clean] = true
		// Not what keeps files from being overwritten (place does), but it
		// spares the user the work before an answer that is known already.
		if info, err := os.Lstat(f.path); err == nil {
			if info.IsDir() {
				return &fs.PathError{Op: "write", Path: f.path, Err: syscall.EISDIR}
			}
			// A rename would put a file in the place of a device.
			if !info.Mode().IsRegular() && info.Mode().Type() != fs.ModeSymlink {
				return &fs.PathError{Op: "write", Path: f.path, Err: errNotRegular}
			}
			if !f.opts.Force {
				return &fs.PathError{Op: "write", Path: f.path, Err: fs.ErrExist}
			}
		}
	}

	defer func() {
		for i := len(g.files) - 1; i >= 0; i-- {
			err = errors.Join(err, g.cleanUp(g.files[i], err != nil))
		}
	}()
	for _, f := range g.files {
		if err := g.stage(f); err != nil {
			return err
		}
	}
	for _, f := range g.files {
		if err := g.place(f); err != nil {
			return err
		}
		if err := g.ops.syncDir(filepath.Dir(f.path)); err != nil {
			return fmt.Errorf("write %s: flush its directory: %w", f.path, err)
		}
	}
	return nil
}

var errNotRegular = errors.New("not a regular file")

// why takes the temporary name, which says nothing to the user, out of an error
// of the file system.
func why(err error) error {
	var onPath *fs.PathError
	var onLink *os.LinkError
	switch {
	case errors.As(err, &onPath):
		return onPath.Err
	case errors.As(err, &onLink):
		return onLink.Err
	}
	return err
}

// stage writes the temporary file.
func (g *Group) stage(f *file) error {
	out, err := createBeside(f.path, "tmp", f.opts.Mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, why(err))
	}
	f.temp = out.Name()
	err = g.ops.write(out, f.data)
	if err == nil {
		err = g.ops.sync(out)
	}
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", f.path, why(err))
	}
	return nil
}

// place gives the temporary file its name.
func (g *Group) place(f *file) error {
	if f.opts.Force {
		if err := g.keepOld(f); err != nil {
			return fmt.Errorf("write %s: keep the old file until the new one stands: %w", f.path, err)
		}
		if err := g.ops.rename(f.temp, f.path); err != nil {
			return fmt.Errorf("write %s: %w", f.path, why(err))
		}
		f.temp, f.placed = "", true
		return nil
	}
	err := g.ops.link(f.temp, f.path)
	switch {
	case err == nil:
		f.placed = true
		return nil // cleanUp removes the temporary name
	case errors.Is(err, fs.ErrExist):
		return &fs.PathError{Op: "write", Path: f.path, Err: fs.ErrExist}
	case !noHardLinks(err):
		return fmt.Errorf("write %s: %w", f.path, why(err))
	}
	// A file system without hard links: claim the name with an empty file,
	// which only one writer can, and replace that.
	claim, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.opts.Mode)
	if err != nil {
		return &fs.PathError{Op: "write", Path: f.path, Err: errors.Unwrap(err)}
	}
	f.placed = true
	if err := claim.Close(); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := g.ops.rename(f.temp, f.path); err != nil {
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	f.temp = ""
	return nil
}

// keepOld gives the file that is about to be replaced a second name, from
// which cleanUp can bring it back; where there are no hard links, a copy.
func (g *Group) keepOld(f *file) error {
	old, err := os.Lstat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for range maxNames {
		name := besideName(f.path, "old")
		err := g.ops.link(f.path, name)
		switch {
		case err == nil:
			f.backup = name
			return nil
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case noHardLinks(err) && old.Mode().IsRegular():
			return g.copyOld(f, old.Mode().Perm())
		case !errors.Is(err, fs.ErrExist):
			return err
		}
	}
	return errors.New("no free temporary name")
}

func (g *Group) copyOld(f *file, mode fs.FileMode) error {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	out, err := createBeside(f.path, "old", mode)
	if err != nil {
		return err
	}
	f.backup = out.Name()
	_, err = out.Write(data)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

func (g *Group) cleanUp(f *file, failed bool) error {
	var errs []error
	if f.temp != "" {
		errs = append(errs, os.Remove(f.temp))
	}
	switch {
	case failed && f.placed && f.backup != "":
		errs = append(errs, g.ops.rename(f.backup, f.path))
	case failed && f.placed: // there was nothing before
		errs = append(errs, os.Remove(f.path))
	case f.backup != "":
		errs = append(errs, os.Remove(f.backup))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("tidy up after %s: %w", f.path, err)
	}
	return nil
}

// operations are the system calls that can fail half way; tests replace them.
type operations struct {
	write        func(*os.File, []byte) error
	sync         func(*os.File) error
	syncDir      func(string) error
	link, rename func(from, to string) error
}

func (o *operations) fillIn() {
	if o.write == nil {
		o.write = func(f *os.File, data []byte) error { _, err := f.Write(data); return err }
	}
	if o.sync == nil {
		o.sync = (*os.File).Sync
	}
	if o.syncDir == nil {
		o.syncDir = syncDir
	}
	if o.link == nil {
		o.link = os.Link
	}
	if o.rename == nil {
		o.rename = os.Rename
	}
}

// maxNames bounds the search for a free temporary name. Names are used up only
// by leftovers of crashed writers with our process id.
const maxNames = 10_000

var nameCount atomic.Uint64

func besideName(path, kind string) string {
	dir, base := filepath.Split(path)
	if len(base) > 200 { // file names end at 255 bytes
		base = base[:200]
	}
	return dir + "." + base + "." + strconv.Itoa(os.Getpid()) + "-" + strconv.FormatUint(nameCount.Add(1), 10) + "." + kind
}

// createBeside is os.CreateTemp with the final mode from the start, so that
// the umask counts and no later chmod is needed. O_EXCL also means that a
// symbolic link planted under the name is not followed.
func createBeside(path, kind string, mode fs.FileMode) (*os.File, error) {
	for range maxNames {
		f, err := os.OpenFile(besideName(path, kind), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if !errors.Is(err, fs.ErrExist) {
			return f, err
		}
	}
	return nil, errors.New("no free temporary name")
}

// noHardLinks tells that the file system (or the kernel's hardening) refuses
// hard links here, not that this one failed.
func noHardLinks(err error) bool {
	for _, no := range []error{syscall.EPERM, syscall.ENOTSUP, syscall.EOPNOTSUPP, syscall.ENOSYS, syscall.EMLINK, errors.ErrUnsupported} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

func syncDir(dir string) error {
	if runtime.GOOS == "windows" { // directories cannot be flushed there
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil // some network file systems know no such call
	}
	return err
}
