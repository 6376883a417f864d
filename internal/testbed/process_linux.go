package testbed

import "syscall"

// childAttributes puts a child into a process group of its own, so that an
// interrupt at the terminal reaches the test first, and has the kernel kill it
// when the thread that started it ends: see starter.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
