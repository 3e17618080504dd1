package test

import (
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// link is a way through the network on which things go wrong: a TCP proxy
// between the programs under test and a server.
type link struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[*linkConn]struct{}
	watch watcher
	cuts  [2]chan struct{} // by direction, closed when healed; nil: whole
}

// direction says where a message is going.
type direction int

const (
	toServer direction = iota
	toClient
)

// message is what is on its way through a link: some bytes, or, without any, a
// connection that is being opened. Requests and answers are small enough here
// to come in one piece.
type message struct {
	link  *link
	conn  *linkConn
	to    direction
	bytes []byte
	// passed is set once the message has been passed on.
	passed bool
}

// watcher is told of each message before and after it is passed on, and keeps
// the message where it is until it returns. What it returns before decides
// whether the message is passed on at all.
type watcher func(message) bool

type linkConn struct{ client, server net.Conn }

func startLink(t *testing.T, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{listener: listener, target: target, conns: make(map[*linkConn]struct{})}
	l.running.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.setWatcher(nil)
		l.reset()
		l.heal()
		l.running.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

// open counts the connections.
func (l *link) open() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns)
}

func (l *link) accept() {
	for {
		client, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(client) })
	}
}

func (l *link) serve(client net.Conn) {
	c := &linkConn{client: client}
	defer client.Close()
	opened := l.pass(message{link: l, conn: c, to: toServer}, func() (err error) {
		c.server, err = net.Dial("tcp", l.target)
		return err
	})
	if !opened {
		return
	}
	defer c.server.Close()
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { l.forward(c, toServer, c.client, c.server) })
	both.Go(func() { l.forward(c, toClient, c.server, c.client) })
	both.Wait()
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// forward passes on what one side sends, and that it has ended.
func (l *link) forward(c *linkConn, to direction, from, into net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			l.pass(message{link: l, conn: c, to: to, bytes: buffer[:n]}, func() error {
				_, err := into.Write(buffer[:n])
				return err
			})
		}
		if err != nil {
			l.awaitWhole(to)
			if tcp, ok := into.(*net.TCPConn); ok {
				_ = tcp.CloseWrite()
			}
			return
		}
	}
}

// pass reports whether the message has arrived.
func (l *link) pass(m message, send func() error) bool {
	l.mu.Lock()
	watch := l.watch
	l.mu.Unlock()
	if watch != nil && !watch(m) {
		return false
	}
	l.awaitWhole(m.to)
	if send() != nil {
		return false
	}
	if m.passed = true; watch != nil {
		watch(m)
	}
	return true
}

func (l *link) setWatcher(w watcher) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = w
}

// cut lets nothing through in the given directions. Connections stay open, new
// ones too; what is on its way is held back, and arrives once the link is
// whole again, as TCP sends again what was not acknowledged.
func (l *link) cut(directions ...direction) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, to := range directions {
		if l.cuts[to] == nil {
			l.cuts[to] = make(chan struct{})
		}
	}
}

// heal ends every cut.
func (l *link) heal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for to, healed := range l.cuts {
		if healed != nil {
			close(healed)
			l.cuts[to] = nil
		}
	}
}

func (l *link) awaitWhole(to direction) {
	l.mu.Lock()
	healed := l.cuts[to]
	l.mu.Unlock()
	if healed != nil {
		<-healed
	}
}

// reset breaks every connection. What was held back is lost.
func (l *link) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		for _, side := range []net.Conn{c.client, c.server} {
			if tcp, ok := side.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = side.Close()
		}
	}
}
