package pleoauth

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dropUnacknowledged makes the kernel give up on data that the peer has not
// acknowledged after d (TCP_USER_TIMEOUT).
func dropUnacknowledged(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var set error
		if err := c.Control(func(fd uintptr) {
			set = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(d.Milliseconds()))
		}); err != nil {
			return err
		}
		return set
	}
}
