package pleotest_test

import (
	"encoding/json"
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A client that looks for the answer only after the RST finds it whole.
func TestABodySurvivesTheResetThatFollowsIt(t *testing.T) {
	i := start(t)
	a, err := i.Issue("", "", "")
	require.NoError(t, err)
	i.Fault(pleotest.Fault{Transfer: pleotest.NoLength, Reset: true})
	conn, ok := i.raw(refresh(a.RefreshToken)).(*net.TCPConn)
	require.True(t, ok)
	raw, err := conn.SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) {
		// No events: POLLERR, of which a RST is one, is always reported.
		poll := []unix.PollFd{{Fd: int32(fd)}}
		for err = unix.EINTR; err == unix.EINTR; {
			_, err = unix.Poll(poll, -1)
		}
	}))
	require.NoError(t, err)
	_, body, end := readAll(conn)
	require.ErrorIs(t, end, syscall.ECONNRESET)
	require.True(t, json.Valid([]byte(body)), body)
}
