package launch

import "syscall"

// attributes give a rank's process a group of its own, and end it when the launcher ends,
// however that is.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
