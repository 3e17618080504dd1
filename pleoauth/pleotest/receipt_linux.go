package pleotest

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// awaitReceipt waits until the other side's system has acknowledged all that
// was written to a connection, or for as long as limit.
func awaitReceipt(conn *net.TCPConn, limit time.Duration) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		unacknowledged := 0
		var failure error
		err := raw.Control(func(fd uintptr) {
			unacknowledged, failure = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ) //nolint:gosec // a descriptor is an int
		})
		if err != nil || failure != nil || unacknowledged == 0 {
			return
		}
	}
}
