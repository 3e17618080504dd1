//go:build !linux

package pleoauth_test

import (
	"net"
	"time"
)

// awaitTaken gives the peer's kernel a moment to take every byte.
func awaitTaken(*net.TCPConn) { time.Sleep(50 * time.Millisecond) }
