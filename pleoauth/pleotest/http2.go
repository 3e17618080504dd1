package pleotest

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"net"
	"net/http"
	"sync"
)

// Frames of HTTP/2 (RFC 9113 sections 4.1, 6.4 and 6.8).
const (
	frameHeader   = 9
	frameReset    = 0x3
	frameGoAway   = 0x7
	resetFrame    = frameHeader + 4
	internalError = 2 // the code of the RST_STREAM that net/http sends for a handler that was aborted
	streamIDMask  = 1<<31 - 1
)

// framedConn is a connection that net/http serves HTTP/2 on. It can put a
// GOAWAY in place of the frame that resets a stream, which a handler cannot ask
// net/http for.
type framedConn struct {
	net.Conn

	mu sync.Mutex
	// goAway replaces the next RST_STREAM of an aborted handler. With processed,
	// the GOAWAY includes its stream.
	goAway    bool
	processed bool

	// start is what has been written of a frame whose fate is not known yet, and
	// rest how much of the payload is missing of one that is passed on. Only
	// Write uses them, of which there is one at a time.
	start []byte
	rest  int

	closed chan struct{}
	once   sync.Once
}

func (c *framedConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *framedConn) Write(b []byte) (int, error) {
	var out []byte
	for in := b; len(in) > 0; {
		if c.rest > 0 {
			n := min(c.rest, len(in))
			out, in, c.rest = append(out, in[:n]...), in[n:], c.rest-n
			continue
		}
		c.start, in = append(c.start, in[0]), in[1:]
		switch {
		case len(c.start) < frameHeader:
		case c.start[3] != frameReset:
			c.rest = int(c.start[0])<<16 | int(c.start[1])<<8 | int(c.start[2])
			out, c.start = append(out, c.start...), nil
		case len(c.start) == resetFrame:
			if farewell := c.farewell(); farewell != nil {
				_, _ = c.Conn.Write(append(out, farewell...))
				return len(b), c.Close()
			}
			out, c.start = append(out, c.start...), nil
		}
	}
	if len(out) > 0 {
		if _, err := c.Conn.Write(out); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// farewell is the GOAWAY to send instead of the RST_STREAM in start, or nil.
func (c *framedConn) farewell() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.goAway || binary.BigEndian.Uint32(c.start[frameHeader:]) != internalError {
		return nil
	}
	last := binary.BigEndian.Uint32(c.start[5:]) & streamIDMask
	if !c.processed {
		last = max(last, 2) - 2 // the stream before: a client's have odd numbers
	}
	frame := []byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0}
	frame = binary.BigEndian.AppendUint32(frame, last)
	return binary.BigEndian.AppendUint32(frame, 0) // NO_ERROR
}

type framedKey struct{}

// endStream ends a request over HTTP/2 without its answer, or without the end of
// it: its stream is reset, or all of the connection by a GOAWAY.
func endStream(r *http.Request, f *Fault) {
	if conn, ok := r.Context().Value(framedKey{}).(*framedConn); ok && f.GoAway {
		conn.mu.Lock()
		conn.goAway, conn.processed = true, f.Drop != BeforeProcessing
		conn.mu.Unlock()
	}
	panic(http.ErrAbortHandler)
}

// http2Server returns a server of HTTP/2 without TLS, and what hands
// connections over to it that have chosen HTTP/2 in TLS: net/http takes no
// connection but a *tls.Conn otherwise, below which frames are encrypted.
func http2Server(of *http.Server, name string) (*http.Server, *memoryListener) {
	listener := newMemoryListener(name)
	of.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){
		"h2": func(_ *http.Server, conn *tls.Conn, _ http.Handler) {
			framed := &framedConn{Conn: conn, closed: make(chan struct{})}
			select {
			case listener.conns <- framed:
				<-framed.closed
			case <-listener.done:
			}
		},
	}
	server := &http.Server{
		Handler: of.Handler, ReadHeaderTimeout: of.ReadHeaderTimeout, ErrorLog: of.ErrorLog, Protocols: new(http.Protocols),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			return context.WithValue(ctx, framedKey{}, conn)
		},
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	return server, listener
}
