package test

import "syscall"

// endWithParent makes a program end with the test binary, also where a timeout
// panics and no cleanup runs.
func endWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
