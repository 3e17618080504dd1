package test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// detour is a way to a server that can be shut: then connections through it
// break, and new ones are refused.
type detour struct {
	address, target string
	serving         sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: shut
	conns    map[net.Conn]struct{}
}

// startDetour opens a detour to an address, until the test ends.
func startDetour(t *testing.T, target string) *detour {
	t.Helper()
	d := &detour{address: "127.0.0.1:0", target: target, conns: map[net.Conn]struct{}{}}
	d.open(t)
	t.Cleanup(func() {
		d.shut()
		d.serving.Wait()
	})
	return d
}

// detourToAuth makes the proxies that are started from now on reach an
// emulator's authorisation server by way of a detour.
func detourToAuth(t *testing.T, e *pleo) *detour {
	t.Helper()
	u, err := url.Parse(e.AuthURL)
	require.NoError(t, err)
	d := startDetour(t, u.Host)
	e.AuthURL = "http://" + d.address
	return d
}

// open opens the detour again, at the same address.
func (d *detour) open(t *testing.T) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", d.address)
	require.NoError(t, err)
	d.mu.Lock()
	d.address, d.listener = listener.Addr().String(), listener
	d.mu.Unlock()
	d.serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			d.serving.Go(func() { d.serve(conn) })
		}
	})
}

func (d *detour) shut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.listener != nil {
		_ = d.listener.Close()
		d.listener = nil
	}
	for conn := range d.conns {
		_ = conn.Close()
	}
}

func (d *detour) serve(from net.Conn) {
	to, err := net.Dial("tcp", d.target)
	if err != nil {
		_ = from.Close()
		return
	}
	ends := []net.Conn{from, to}
	d.mu.Lock()
	for _, conn := range ends {
		d.conns[conn] = struct{}{}
		if d.listener == nil {
			_ = conn.Close()
		}
	}
	d.mu.Unlock()
	var both sync.WaitGroup
	for i := range ends {
		both.Go(func() {
			_, _ = io.Copy(ends[i], ends[1-i])
			for _, conn := range ends {
				_ = conn.Close()
			}
		})
	}
	both.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, conn := range ends {
		delete(d.conns, conn)
	}
}
