package testbed

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// space is what a bed has to itself on this machine: a directory, and a number
// from which the addresses of its pods are made.
//
// The directory is held by a file lock and the number by a bound socket; the
// kernel drops both with the process however it ends. So a directory whose lock
// is free belongs to a dead run and is swept away, and no two beds on the
// machine share an address.
type space struct {
	dir    string
	number int // 0..nets-1
	alive  *os.File
	claim  int // the socket that holds the number
}

// Pod addresses are 10.(128+number).x.y, and 127.(128+number).x.y on the
// machine: above what clusters and Linux use of either.
const (
	firstNet = 128
	nets     = 127
	// claimPort, at the last address of a number's range, is bound by who has it.
	claimPort = 47990
)

// base is where all beds of a user have their directories.
func base(parent string) (string, error) {
	if parent == "" {
		parent = os.TempDir()
	}
	dir := filepath.Join(parent, "windlass-testbed-"+strconv.Itoa(os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	// The keys of the clusters will lie here, and the place has a known name:
	// it must be a directory of ours alone.
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !info.IsDir() || info.Mode().Perm()&0o077 != 0 || (ok && int(owner.Uid) != os.Getuid()) {
		return "", fmt.Errorf("%s is not a directory that belongs to this user alone", dir)
	}
	return dir, nil
}

func newSpace(parent string) (_ *space, err error) {
	at, err := base(parent)
	if err != nil {
		return nil, fmt.Errorf("make room for a bed: %w", err)
	}
	// One at a time: else a sweep could find a directory that is not locked yet.
	gate, err := lockFile(filepath.Join(at, "gate"), true)
	if err != nil {
		return nil, fmt.Errorf("make room for a bed: %w", err)
	}
	defer gate.Close()
	if err := sweep(at); err != nil {
		return nil, fmt.Errorf("sweep the directories of dead runs: %w", err)
	}
	s := &space{claim: -1}
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.number, s.claim, err = claimNumber(); err != nil {
		return nil, fmt.Errorf("make room for a bed: %w", err)
	}
	if s.dir, err = os.MkdirTemp(at, "bed-"); err != nil {
		return nil, err
	}
	s.alive, err = lockFile(filepath.Join(s.dir, "alive"), false)
	return s, err
}

func (s *space) release() {
	if s.dir != "" {
		_ = os.RemoveAll(s.dir) // the next run sweeps what is left
	}
	if s.alive != nil {
		s.alive.Close()
	}
	if s.claim >= 0 {
		unix.Close(s.claim)
	}
}

func claimNumber() (number, socket int, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, -1, err
	}
	unix.CloseOnExec(fd)
	for n := range nets {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: claimPort, Addr: [4]byte{127, byte(firstNet + n), 255, 254}})
		if err == nil {
			return n, fd, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			break
		}
	}
	unix.Close(fd)
	return 0, -1, fmt.Errorf("no range of addresses is free: %w", err)
}

// sweep removes the directories that no living process holds.
func sweep(base string) error {
	dirs, err := filepath.Glob(filepath.Join(base, "bed-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		alive, err := lockFile(filepath.Join(dir, "alive"), false)
		if errors.Is(err, errLocked) || errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = os.RemoveAll(dir)
		alive.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

var errLocked = errors.New("locked by another process")

// lockFile makes and locks a file. The lock goes with the descriptor, and that
// with the process: children do not inherit it.
func lockFile(name string, wait bool) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	how := unix.LOCK_EX
	if !wait {
		how |= unix.LOCK_NB
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return f, nil
}
