//go:build !linux

package testbed

import "syscall"

// childAttributes: only Linux ties a child's life to its parent's. Elsewhere a
// test that is killed outright leaves its children behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

func awaitFrozen(int) error { return nil }
