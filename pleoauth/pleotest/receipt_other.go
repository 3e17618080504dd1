//go:build !linux

package pleotest

import (
	"net"
	"time"
)

// awaitReceipt gives the other side's system a moment to take what was written
// to a connection, where there is no asking whether it has.
func awaitReceipt(_ *net.TCPConn, limit time.Duration) {
	time.Sleep(min(limit, 100*time.Millisecond))
}
