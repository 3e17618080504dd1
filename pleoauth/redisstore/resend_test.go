package redisstore_test

import (
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// deafProxy passes bytes to a server. Once it is told to be deaf, it cuts the
// connection on which the next answer comes, and is well again: a command that
// was carried out, whose answer was lost, and that could be sent once more.
type deafProxy struct {
	addr string
	deaf atomic.Bool
	// dials counts connections.
	dials atomic.Int64
}

func startDeafProxy(t *testing.T, server string) *deafProxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &deafProxy{addr: l.Addr().String()}
	var group sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.dials.Add(1)
			group.Go(func() { p.serve(client, server) })
		}
	})
	return p
}

func (p *deafProxy) serve(client net.Conn, server string) {
	defer client.Close()
	backend, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer backend.Close()
	var group sync.WaitGroup
	group.Go(func() {
		defer backend.Close()
		buffer := make([]byte, 64<<10)
		for {
			n, err := client.Read(buffer)
			if err != nil {
				return
			}
			if _, err := backend.Write(buffer[:n]); err != nil {
				return
			}
		}
	})
	buffer := make([]byte, 64<<10)
	for {
		n, err := backend.Read(buffer)
		if err != nil || p.deaf.CompareAndSwap(true, false) {
			break
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			break
		}
	}
	_ = client.Close()
	group.Wait()
}

// calls returns how often the server has run a command.
func calls(t *testing.T, server *redistest.Server, command string) string {
	t.Helper()
	stats := server.Client(t).Info(t.Context(), "commandstats").Val()
	match := regexp.MustCompile(`cmdstat_` + command + `:calls=(\d+)`).FindStringSubmatch(stats)
	if match == nil {
		return "0"
	}
	return match[1]
}

func TestCommandWhoseAnswerWasLostIsNotSentAgain(t *testing.T) {
	server := redistest.Start(t)
	proxy := startDeafProxy(t, server.Addr())
	store := open(t, options(t, server.URLAt(redistest.User, proxy.addr)))
	old := put(t, store, "acme", connected)
	require.NoError(t, server.Client(t).ConfigResetStat(t.Context()).Err())
	proxy.deaf.Store(true)
	next := connected
	next.Version = "v2"
	_, err := store.Swap(t.Context(), "acme", old, next, pleoauth.SwapOptions{})
	require.Error(t, err)
	require.False(t, errors.Is(err, pleoauth.ErrConflict) || errors.Is(err, pleoauth.ErrLockLost) || errors.Is(err, pleoauth.ErrNotWritten), "these say that nothing was changed")
	require.Equal(t, "1", calls(t, server, "evalsha"))
	now, err := store.Read(t.Context(), "acme")
	require.NoError(t, err)
	require.Equal(t, "v2", now.Version)
}

func TestClusterCommandWhoseAnswerWasLostIsNotSentAgain(t *testing.T) {
	c := redistest.StartCluster(t, 1)
	node := c.Nodes[0]
	proxy := startDeafProxy(t, node.Addr())
	// The Cluster tells its clients where it is: at the proxy.
	_, port, _ := strings.Cut(proxy.addr, ":")
	require.NoError(t, node.Client(t).ConfigSet(t.Context(), "cluster-announce-port", port).Err())
	o := clusterOptions(c)
	o.Addresses = []string{proxy.addr}
	store := open(t, o)
	old := put(t, store, "acme", connected)
	require.NoError(t, node.Client(t).ConfigResetStat(t.Context()).Err())
	require.Positive(t, proxy.dials.Load())
	proxy.deaf.Store(true)
	_, err := store.Swap(t.Context(), "acme", old, connected, pleoauth.SwapOptions{})
	require.Error(t, err)
	require.NotErrorIs(t, err, pleoauth.ErrNotWritten)
	require.Equal(t, "1", calls(t, node, "evalsha"))
}
