package redistest

import "syscall"

// endWithParent makes the server end with the test binary, also where a
// timeout panics and no cleanup runs.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
