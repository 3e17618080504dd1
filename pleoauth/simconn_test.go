package pleoauth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	began := time.Now()
	if err := p.step("dial", "before"); err != nil {
		return nil, err
	}
	conn, err := p.sim.dial(ctx, network, address)
	if time.Since(began) > time.Second {
		p.sim.note(func(*ledger) { p.vain = time.Now() })
	}
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
	sent   *sent  // what was sent to the token endpoint
	about  string // the refresh token that was asked about
	oauth  bool   // the request is one of those that Pleo limits
	answer []byte
	odd    *oddAnswer // what is left of an answer that ends badly
	known  bool       // the answer has been looked at
}

func (c *simConn) Read(b []byte) (int, error) {
	if c.odd != nil {
		return c.odd.read(b)
	}
	n, err := c.Conn.Read(b)
	if n > 0 && c.oauth {
		c.answer = append(c.answer, b[:n]...)
		c.look()
	}
	if gone := c.p.step("pleo", "read"); gone != nil {
		return 0, gone
	}
	status, body, whole := answerOf(c.answer)
	switch {
	case !whole || status != 200:
	case c.sent != nil:
		c.p.sim.delivered(c.p, body)
	case c.about != "":
		var said struct{ Active *bool }
		if json.Unmarshal(body, &said) == nil && said.Active != nil {
			c.p.sim.heard(c.p, c.about, *said.Active)
		}
	}
	if odd := c.p.oddAnswer(c); odd != nil && n > 0 {
		c.odd = odd
		return c.odd.read(b)
	}
	return n, err
}

// look looks at an answer as soon as it has come, whether or not the process gets
// to read it.
func (c *simConn) look() {
	status, body, whole := answerOf(c.answer)
	if !whole || c.known {
		return
	}
	c.known = true
	var said struct {
		Active       *bool
		Error        string
		RefreshToken string `json:"refresh_token"`
	}
	_ = json.Unmarshal(body, &said)
	switch {
	case status == 429:
		c.p.told429(c.answer)
	case c.about != "" && status == 200 && said.Active != nil:
		c.p.sim.toldOf(c.p, c.about, *said.Active)
	case c.sent != nil && (said.RefreshToken != "" || status == 400 && said.Error != ""):
		c.p.sim.arrived(c.sent)
	}
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
	head, body, _ := bytes.Cut(b, []byte("\r\n\r\n"))
	form, _ := url.ParseQuery(string(body))
	switch {
	case strings.HasPrefix(string(head), "POST /oauth/token/introspect "):
		c.oauth = true
		c.p.keepsPace()
		if form.Get("token_type_hint") == "refresh_token" {
			c.about = form.Get("token")
			c.p.sim.asksAbout(c.p, c.about)
		}
		if c.p.sim.isMute(c.p) {
			return 0, errAway
		}
	case strings.HasPrefix(string(head), "POST /oauth/token "):
		c.oauth = true
		c.sent = c.p.sim.leaves(c.p, form)
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

var (
	errUnheard = errors.New("the answer is lost")
	errDead    = errors.New("this process is dead")
)
