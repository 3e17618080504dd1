//go:build linux

package stand

import (
	"fmt"
	"net"
	"os"
)

// The parts that this program can play.
const (
	roleUpstream   = "upstream"
	roleRedisProxy = "redis-proxy"
)

// PlayRole plays the part that the environment names, and does not return then.
// It reports false if it names none.
func PlayRole(args []string) bool {
	role := os.Getenv(RoleVariable)
	if role == "" {
		return false
	}
	l, err := net.Listen("tcp", args[0]) //nolint:noctx // it does not wait
	if err == nil {
		switch role {
		case roleUpstream:
			err = Upstream(l)
		case roleRedisProxy:
			err = RedisProxy(l, args[1], args[2])
		default:
			err = fmt.Errorf("there is no part %q", role)
		}
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
	return true
}

// startRole starts this program in another part.
func startRole(dir, role string, args ...string) (*Process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := start(dir, addr, []string{RoleVariable + "=" + role}, self, append([]string{addr}, args...)...)
	if err != nil {
		return nil, err
	}
	return p, p.await(func() bool { return listens(addr) })
}
