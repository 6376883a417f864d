package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// place is the directory of the one bed that a user can have in the background.
type place string

func (p place) lockFile() string   { return filepath.Join(string(p), "lock") }
func (p place) stateFile() string  { return filepath.Join(string(p), "state.json") }
func (p place) logFile() string    { return filepath.Join(string(p), "log") }
func (p place) meshLog() string    { return filepath.Join(string(p), "mesh.log") }
func (p place) kubeconfig() string { return filepath.Join(string(p), "kubeconfig") }

// state is what the process that holds the bed says of it.
type state struct {
	PID        int       `json:"pid"`
	Started    time.Time `json:"started"`
	Ready      bool      `json:"ready"`
	Kubeconfig string    `json:"kubeconfig,omitempty"`
	Clusters   []cluster `json:"clusters,omitempty"`
}

type cluster struct {
	Name      string   `json:"name"`
	URL       string   `json:"url"`
	Anchor    string   `json:"anchor"`
	Workloads []string `json:"workloads"`
}

// show says how to use it. What a shell can take in stands alone on stdout:
//
//	eval "$(make -s testbed-up)"
func (s *state) show(stdout, stderr io.Writer) {
	contexts := ""
	for _, c := range s.Clusters {
		fmt.Fprintf(stderr, "  %-8s %s  Linkerd with anchor %q; meshed:", c.Name, c.URL, c.Anchor)
		for _, w := range c.Workloads {
			fmt.Fprint(stderr, " ", w)
		}
		fmt.Fprintln(stderr)
		contexts += " --context " + c.Name
	}
	fmt.Fprintf(stderr, "Try this; make testbed-down ends it:\n\n")
	fmt.Fprintf(stdout, "export KUBECONFIG=%s\n", s.Kubeconfig)
	fmt.Fprintf(stderr, "windlass survey%s\n", contexts)
}

func (p place) read() (*state, error) {
	b, err := os.ReadFile(p.stateFile())
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", p.stateFile(), err)
	}
	return &s, nil
}

// write replaces the state as a whole: readers see the old or the new.
func (p place) write(s *state) error {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := p.stateFile() + ".new"
	if err := os.WriteFile(next, append(b, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.stateFile())
}

// errHeld means that somebody else holds the place: a bed's process, or a
// command that is about to start or end one.
var errHeld = errors.New("held by another process")

// lock takes the place, or says errHeld. The lock belongs to the open file, so
// it can be handed to another process, and it goes with the last that has it.
func (p place) lock() (*os.File, error) {
	if err := os.MkdirAll(string(p), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(p.lockFile(), os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, errHeld // somebody removes the directory right now
	}
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil {
		// The file may have been removed between open and lock: a lock on what
		// nobody can find any more is worth nothing.
		var ours, theirs os.FileInfo
		if ours, err = f.Stat(); err == nil {
			theirs, err = os.Stat(p.lockFile())
		}
		if err == nil && os.SameFile(ours, theirs) {
			return f, nil
		}
		if err == nil || errors.Is(err, os.ErrNotExist) {
			err = errHeld
		}
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, errHeld
	}
	return nil, err
}
