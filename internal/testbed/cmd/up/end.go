package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/windlass-mesh/windlass/internal/testbed/binaries"
)

// grace is how long the holder may take to end when asked.
const grace = 20 * time.Second

// end ends the bed if one runs, removes all that is left of it or of one that
// died, and says which it was.
func end(ctx context.Context, at place) (what string, err error) {
	if _, err := os.Stat(string(at)); errors.Is(err, os.ErrNotExist) {
		return "no test bed runs", nil
	}
	var asked, killed int // the process that was
	var since time.Time
	for {
		lock, err := at.lock()
		if err == nil {
			defer lock.Close()
			what = "no test bed runs"
			if asked != 0 {
				what = "the test bed is gone"
			} else if _, err := at.read(); err == nil {
				what = "the test bed had died; what it left is gone"
			}
			if err := tidy(ctx, at); err != nil {
				return "", err
			}
			for _, file := range []string{at.logFile(), at.meshLog(), at.lockFile()} {
				if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
					return "", err
				}
			}
			_ = os.Remove(string(at)) // unless somebody keeps something there
			return what, nil
		}
		if !errors.Is(err, errHeld) {
			return "", err
		}
		if st, err := at.read(); err == nil {
			switch {
			case asked != st.PID:
				if err := signalHolder(at, st.PID, syscall.SIGTERM); err != nil {
					return "", err
				}
				asked, since = st.PID, time.Now()
			case killed != st.PID && time.Since(since) > grace:
				if err := signalHolder(at, st.PID, syscall.SIGKILL); err != nil {
					return "", err
				}
				killed = st.PID
			}
		}
		if err := pause(ctx); err != nil {
			return "", err
		}
	}
}

// signalHolder signals the holder, and nobody who came to its number after it.
func signalHolder(at place, pid int, sig syscall.Signal) error {
	// On Linux this holds on to the process itself. If after that the lock is
	// still held in its name, it is the holder.
	p, err := os.FindProcess(pid)
	if err != nil {
		return err
	}
	defer func() { _ = p.Release() }()
	if lock, err := at.lock(); err == nil {
		lock.Close()
		return nil
	}
	if st, err := at.read(); err != nil || st.PID != pid {
		return nil
	}
	if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("end process %d: %w", pid, err)
	}
	return nil
}

// tidy removes what a bed left, its processes first. It needs the lock: whoever
// was their parent is dead.
func tidy(ctx context.Context, at place) error {
	beds, err := filepath.Glob(filepath.Join(string(at), "windlass-testbed-*"))
	if err != nil {
		return err
	}
	for _, bed := range beds {
		// The kernel kills them with their parent (on Linux), but takes a moment.
		for {
			left := processesIn(bed)
			for _, pid := range left {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone by now
			}
			if len(left) == 0 {
				break
			}
			if err := pause(ctx); err != nil {
				return err
			}
		}
		if err := os.RemoveAll(bed); err != nil {
			return err
		}
	}
	for _, file := range []string{at.stateFile(), at.stateFile() + ".new", at.kubeconfig()} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// processesIn returns the control planes' programs that run on files below a
// directory. Others that name it, an editor of a log say, are left alone.
func processesIn(dir string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*") // elsewhere there are none
	for _, p := range all {
		pid, err := strconv.Atoi(filepath.Base(p))
		if err != nil || pid == os.Getpid() {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join(p, "cmdline"))
		if err != nil || !strings.Contains(string(cmdline), dir+string(filepath.Separator)) {
			continue
		}
		exe, err := os.Readlink(filepath.Join(p, "exe"))
		if err == nil && slices.Contains(binaries.ControlPlane, strings.TrimSuffix(filepath.Base(exe), " (deleted)")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
