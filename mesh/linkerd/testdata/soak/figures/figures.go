// Package figures is what the programs of the soak test say of themselves.
package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
)

// Figures are what one process has cost.
type Figures struct {
	Pods, Workloads int
	// Wall is how long the work took; CPU is of the whole process, user and
	// system, its start included.
	Wall, CPU time.Duration
	// Idle and Peak are the resident memory of the process, in bytes: before the
	// work, and the most it ever was.
	Idle, Peak int64
	// Requests and Bytes are those of the API, decompressed.
	Requests, Bytes int64
}

// Started is the process before its work.
type Started struct {
	at   time.Time
	idle int64
}

// Start is called before the work.
func Start() Started { return Started{time.Now(), status("VmRSS:")} }

// Report completes the figures and prints them.
func (s Started) Report(f Figures) {
	f.Wall, f.Idle = time.Since(s.at), s.idle
	// Not the maximum of getrusage: that one is inherited from whoever started
	// the process. This one begins with the program.
	f.Peak = status("VmHWM:")
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		Fail(err)
	}
	f.CPU = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		Fail(err)
	}
}

// Fail ends the process.
func Fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// status reads a line of /proc/self/status, in bytes.
func status(key string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		Fail(err)
	}
	_, after, _ := strings.Cut(string(b), key)
	var kb int64
	if _, err := fmt.Sscanf(after, "%d kB", &kb); err != nil {
		Fail(fmt.Errorf("%s: %w", key, err))
	}
	return kb << 10
}
