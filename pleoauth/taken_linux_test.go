package pleoauth_test

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// awaitTaken waits until the peer's kernel has acknowledged every byte: a RST would
// overtake those that are still to be sent.
func awaitTaken(conn *net.TCPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		left := 0
		if err := raw.Control(func(fd uintptr) { left, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) }); err != nil || left == 0 {
			return
		}
	}
}
