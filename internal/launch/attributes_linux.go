package launch

import "syscall"

// attributes of a rank's process: a group of its own, and an end when the launcher's
// comes, however that is.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
