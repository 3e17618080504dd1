package pleoauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"
)

func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := p.step("dial", "before"); err != nil {
		return nil, err
	}
	conn, err := p.sim.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &simConn{Conn: conn, p: p}, nil
}

// simConn is a process's connection to Pleo. The pause before a write comes
// before the clock check in the connection above it: what lies between check
// and system call is not for a protocol to exclude.
type simConn struct {
	net.Conn
	p      *process
	asks   bool // at the token endpoint
	answer []byte
}

func (c *simConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if gone := c.p.step("pleo", "read"); gone != nil {
		return 0, gone
	}
	if c.asks && n > 0 {
		c.answer = append(c.answer, b[:n]...)
		c.p.sim.delivered(c.p, c.answer)
	}
	return n, err
}

func (c *simConn) Write(b []byte) (int, error) {
	if c.p.sim.mutant.pauseInWrite {
		if err := c.p.step("pleo", "write"); err != nil {
			return 0, err
		}
	}
	if c.p.dead.Load() {
		return 0, errDead
	}
	if strings.HasPrefix(string(b), "POST /oauth/token ") {
		c.asks = true
		if c.p.sim.mutant.resend {
			sent := slices.Clone(b)
			n, err := c.Conn.Write(b)
			time.AfterFunc(5*time.Second, func() { c.p.sendAgain(sent) })
			return n, err
		}
	}
	return c.Conn.Write(b)
}

// sendAgain is what a layer below does that thinks it knows better.
func (p *process) sendAgain(request []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := p.sim.dial(ctx, "tcp", "auth.localhost:80")
	if err != nil {
		return
	}
	_, _ = conn.Write(request)
	_, _ = conn.Read(make([]byte, 1024))
	_ = conn.Close()
}

// delivered notes the pair of an answer that a process has read whole.
func (s *sim) delivered(p *process, answer []byte) {
	head, body, ok := bytes.Cut(answer, []byte("\r\n\r\n"))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) {
		return
	}
	length := -1
	for line := range strings.Lines(string(head)) {
		if name, value, ok := strings.Cut(line, ":"); ok && textproto.CanonicalMIMEHeaderKey(name) == "Content-Length" {
			length, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	var grant struct {
		RefreshToken string `json:"refresh_token"`
	}
	if len(body) != length || json.Unmarshal(body, &grant) != nil || grant.RefreshToken == "" {
		return
	}
	s.note(func(l *ledger) { l.received[grant.RefreshToken] = p })
}

var (
	errUnheard = errors.New("the answer is lost")
	errDead    = errors.New("this process is dead")
)
