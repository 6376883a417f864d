package testbed

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes puts a child into a process group of its own, so that an
// interrupt at the terminal reaches the test first, and has the kernel kill it
// when the thread that started it ends: see starter.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// awaitFrozen returns when the last thread of a child has taken notice of
// SIGSTOP; until then it may still answer.
func awaitFrozen(pid int) error {
	for {
		// WNOWAIT leaves the news for who waits for the child's end.
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
