//go:build linux

// Package load calls a server over HTTP/1.1 for little: on a machine with two
// cores a client that costs more than what it measures would measure itself.
package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// callTimeout bounds one call.
const callTimeout = 20 * time.Second

// errAnswer is returned when an answer is not one of the servers' here.
var errAnswer = errors.New("unexpected answer")

// Conn is a connection to a server that is kept open between calls.
type Conn struct {
	addr    string
	conn    net.Conn
	reader  *bufio.Reader
	request []byte
}

// NewConn returns a connection to addr (host:port) that is opened when it is
// first used.
func NewConn(addr string) *Conn { return &Conn{addr: addr} }

// Close closes the connection.
func (c *Conn) Close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// Call makes a call and reads its answer to the end. It returns an error unless
// that is a 200.
func (c *Conn) Call(r *Request, connection string) error {
	reused := c.conn != nil
	if err := c.send(r, connection); err != nil {
		if !reused {
			return err
		}
		if err := c.send(r, connection); err != nil { // the server may have closed it meanwhile
			return err
		}
	}
	err := c.receive()
	if err != nil {
		c.Close()
	}
	return err
}

// send writes the call's request.
func (c *Conn) send(r *Request, connection string) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.addr, callTimeout) //nolint:noctx // it has a timeout
		if err != nil {
			return err
		}
		c.conn = conn
		if c.reader == nil {
			c.reader = bufio.NewReaderSize(nil, 64<<10)
		}
		c.reader.Reset(conn)
		_ = conn.SetDeadline(time.Now().Add(24 * time.Hour))
	}
	c.request = r.appendTo(c.request[:0], connection)
	_, err := c.conn.Write(c.request)
	if err != nil {
		c.Close()
	}
	return err
}

// receive reads one answer.
func (c *Conn) receive() error {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	if len(line) < 12 {
		return errAnswer
	}
	ok := string(line[9:12]) == "200"
	status := string(line[9:12])
	length := int64(-1)
	for {
		line, err = c.reader.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reading an answer's header: %w", err)
		}
		if len(line) <= 2 {
			break
		}
		if name, value, _ := bytes.Cut(line, []byte(":")); bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return errAnswer
			}
		}
	}
	if length < 0 {
		return fmt.Errorf("%w: it has no Content-Length", errAnswer)
	}
	if ok {
		return c.discard(length)
	}
	body, _ := io.ReadAll(io.LimitReader(c.reader, min(length, 300)))
	return fmt.Errorf("%w: %s: %s", errAnswer, status, body)
}

func (c *Conn) discard(n int64) error {
	for n > 0 {
		some, err := c.reader.Discard(int(min(n, 32<<10)))
		n -= int64(some)
		if err != nil {
			return fmt.Errorf("reading an answer's body: %w", err)
		}
	}
	return nil
}
