package pleoauth

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// errTooLate is returned by the connection itself when a token would leave
// after its deadline.
var errTooLate = errors.New("too late to send")

const (
	// dialTimeout bounds name resolution, TCP and TLS.
	dialTimeout = 10 * time.Second
	// readTicks bounds the wait for an answer, in seconds that this process
	// has itself seen pass: a stopped process sees none, and the answer that
	// waits in its socket meanwhile is not thrown away.
	readTicks = 300
)

// TokenConn is one new HTTP/1.1 connection to the token endpoint, good for one
// request. It is dialled, TLS included, before the mark is written, so that
// nothing slow lies between the mark and the token.
//
// No layer below may send the request twice: there is no pool, no HTTP/2, no
// redirect, and x/oauth2 has a fixed style of client authentication (with the
// one it would detect by itself it sends a failed request again).
type TokenConn struct {
	client *Client
	http   *http.ClientConn
	guard  *guardedConn
	used   atomic.Bool
}

// Dial opens a connection to the token endpoint. ctx bounds the dialling alone.
// Its errors wrap [ErrNotProcessed].
func (c *Client) Dial(ctx context.Context) (*TokenConn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	tc := &TokenConn{client: c}
	transport := c.newTransport(func(conn net.Conn) net.Conn {
		tc.guard = &guardedConn{Conn: conn}
		return tc.guard
	})
	u, err := url.Parse(c.tokenURL())
	if err != nil {
		return nil, &OAuthError{Kind: ErrNotProcessed, Err: err}
	}
	tc.http, err = transport.NewClientConn(ctx, u.Scheme, hostPort(u))
	if err != nil {
		return nil, &OAuthError{Kind: ErrNotProcessed, Err: err}
	}
	return tc, nil
}

// Close closes the connection; an answer that is still awaited is lost.
func (tc *TokenConn) Close() { _ = tc.http.Close() }

const (
	// lastRead is how long an answer that has arrived has to be read from the socket
	// before the connection is reset.
	lastRead = 100 * time.Millisecond
	// lastWork bounds what is done with what was read.
	lastWork = 5 * time.Second
)

// reset closes the connection with a RST, so that what of the request is still
// on its way is dropped. An answer that has arrived, and that its reader has not come to
// read, is read first: it may hold the only pair. ended is closed once the reader has
// done with it.
func (tc *TokenConn) reset(ended <-chan struct{}) {
	_ = tc.guard.SetReadDeadline(time.Now().Add(lastRead))
	timer := time.NewTimer(lastWork)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	if tcp, ok := tc.guard.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	tc.Close()
}

// Refresh sends the refresh token, once, and reads the answer to its end,
// however late it comes. No byte leaves at or after any of the deadlines, by the
// monotonic and by the wall clock. It has no context, for a context would throw away an
// answer that is already in the socket; Close interrupts it.
//
// Errors are of type [*OAuthError].
func (tc *TokenConn) Refresh(refreshToken string, deadlines ...time.Time) (Grant, error) {
	return tc.send(deadlines, refreshToken, func(ctx context.Context, cfg *oauth2.Config) {
		_, _ = cfg.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	})
}

// Exchange sends an authorisation code with its PKCE verifier (RFC 7636,
// section 4.5), once, in the manner of [TokenConn.Refresh].
func (tc *TokenConn) Exchange(code, verifier string, deadline time.Time) (Grant, error) {
	g, err := tc.send([]time.Time{deadline}, "", func(ctx context.Context, cfg *oauth2.Config) {
		_, _ = cfg.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	})
	if err == nil && g.RefreshToken == "" {
		return Grant{}, &OAuthError{Kind: ErrAmbiguous, Status: http.StatusOK, Err: errors.New("the answer has no refresh token")}
	}
	return g, err
}

// send has x/oauth2 make the request, and reads the answer itself: x/oauth2
// throws away a pair whose expires_in it cannot read, and puts bodies, which
// may hold tokens, into its errors.
func (tc *TokenConn) send(deadlines []time.Time, spent string, request func(context.Context, *oauth2.Config)) (Grant, error) {
	defer tc.Close()
	if tc.used.Swap(true) {
		return Grant{}, &OAuthError{Kind: ErrNotProcessed, Err: errors.New("the connection has been used")}
	}
	tc.guard.deadlines.Store(&deadlines) // what was written before was TLS
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	stopTicks := make(chan struct{})
	defer close(stopTicks)
	go cancelAfterTicks(cancel, readTicks, stopTicks)

	once := &onceTransport{conn: tc.http}
	secret := tc.client.secrets.now()
	request(context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     once,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}), tc.client.oauth2Config(secret))

	if once.err != nil {
		kind := ErrAmbiguous
		if !tc.guard.handed.Load() {
			kind = ErrNotProcessed
		}
		return Grant{}, &OAuthError{Kind: kind, Err: unquoted(withoutURL(once.err))}
	}
	g, err := once.answer.grant(spent)
	return g, tc.client.refusedSecret(secret, err)
}

// onceTransport sends one request and keeps the whole answer.
type onceTransport struct {
	conn   *http.ClientConn
	sent   bool
	answer answer
	err    error
}

// RoundTrip implements [http.RoundTripper].
func (t *onceTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.sent {
		return nil, errors.New("a token request is sent once")
	}
	t.sent = true
	req = req.Clone(req.Context())
	req.Header.Set("Accept-Encoding", "identity")
	var resp *http.Response
	if resp, t.err = t.conn.RoundTrip(req); t.err != nil {
		return nil, t.err
	}
	defer func() { _ = resp.Body.Close() }()
	t.answer = answer{status: resp.StatusCode, retryAfter: retryAfter(resp.Header)}
	t.answer.body, t.answer.cut = readBody(resp.Body)
	if t.answer.cut != nil {
		t.answer.cut = unquoted(withoutURL(t.answer.cut))
	}
	// x/oauth2 gets nothing to parse, keep or quote.
	return &http.Response{StatusCode: http.StatusNoContent, Header: http.Header{}, Body: http.NoBody, Request: req}, nil
}

func cancelAfterTicks(cancel context.CancelFunc, ticks int, stop <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for range ticks {
		select {
		case <-ticker.C:
		case <-stop:
			return
		}
	}
	cancel()
}

// guardedConn refuses to write after its deadlines, once it has some, and knows
// whether anything of the request was handed to the kernel. It sits below TLS.
type guardedConn struct {
	net.Conn
	deadlines atomic.Pointer[[]time.Time]
	handed    atomic.Bool
}

// Write checks both clocks right before the system call: the monotonic one
// does not count while some machines sleep, the wall clock may be set.
//
// That bytes were handed over is noted before the call: the answer to them may
// be read, by another goroutine, before the call returns.
func (c *guardedConn) Write(p []byte) (int, error) {
	deadlines := c.deadlines.Load()
	if deadlines == nil {
		return c.Conn.Write(p)
	}
	for _, deadline := range *deadlines {
		if now := time.Now(); !now.Before(deadline) || !now.Round(0).Before(deadline.Round(0)) {
			return 0, errTooLate
		}
	}
	first := !c.handed.Swap(true)
	n, err := c.Conn.Write(p)
	if first && n == 0 && err != nil {
		c.handed.Store(false)
	}
	return n, err
}

// withoutURL drops the outer layers that net/http puts around an error: they
// say nothing that the message around ours does not.
func withoutURL(err error) error {
	if u := new(url.Error); errors.As(err, &u) {
		return u.Err
	}
	return err
}

// unquoted keeps what the network said. Other errors are about an answer that
// is no HTTP, and quote it.
func unquoted(err error) error {
	for _, plain := range []error{errTooLate, io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, net.ErrClosed, context.Canceled} {
		if errors.Is(err, plain) {
			return err
		}
	}
	if _, ok := errors.AsType[net.Error](err); ok {
		return err
	}
	return errors.New("the answer is unreadable")
}

// newTransport makes a transport for connections that are never shared.
func (c *Client) newTransport(wrap func(net.Conn) net.Conn) *http.Transport {
	t := &http.Transport{
		Proxy:               forwardProxy,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: c.rootCAs},
		TLSNextProto:        map[string]func(string, *tls.Conn) http.RoundTripper{}, // HTTP/2 sends again by itself
		DisableKeepAlives:   true,
		DisableCompression:  true,
		TLSHandshakeTimeout: dialTimeout,

		MaxResponseHeaderBytes: maxAnswer,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := c.dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			if err := c.cfg.checkPeer(addr, conn.RemoteAddr()); err != nil {
				_ = conn.Close()
				return nil, err
			}
			return wrap(conn), nil
		},
	}
	return t
}
