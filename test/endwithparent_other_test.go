//go:build !linux

package test

import "syscall"

func endWithParent() *syscall.SysProcAttr { return nil }
