//go:build !linux

package pleoauth

import (
	"syscall"
	"time"
)

// dropUnacknowledged is Linux's: elsewhere the kernel keeps trying for as long
// as it is set to.
func dropUnacknowledged(time.Duration) func(network, address string, c syscall.RawConn) error {
	return nil
}
