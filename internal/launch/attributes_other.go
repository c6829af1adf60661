//go:build !linux

package launch

import "syscall"

// attributes give a rank's process a group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
