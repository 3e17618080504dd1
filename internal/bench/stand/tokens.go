//go:build linux

package stand

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// AccessTokenSize and RefreshTokenSize are how long the tokens here are. Pleo's
// are opaque; these are as long as a short JSON web token.
const (
	AccessTokenSize  = 200
	RefreshTokenSize = 200
)

// TokenServer stands for Pleo's token endpoint: every refresh is answered with a
// new pair, after a delay.
type TokenServer struct {
	URL string
	// Refreshes counts the requests.
	Refreshes atomic.Int64
	// Delay is how long each takes, Life how long access tokens live.
	Delay, Life atomic.Int64

	server *http.Server
}

// StartTokenServer starts one on loopback.
func StartTokenServer() (*TokenServer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it does not wait
	if err != nil {
		return nil, err
	}
	s := &TokenServer{URL: "http://" + l.Addr().String()}
	s.Life.Store(int64(15 * time.Minute))
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.server.Serve(l) }()
	return s, nil
}

// Close ends it.
func (s *TokenServer) Close() { _ = s.server.Close() }

// ServeHTTP answers a refresh; an introspection is told that the token lives.
func (s *TokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1<<20))
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path != "/oauth/token" {
		_, _ = io.WriteString(w, `{"active":true}`)
		return
	}
	n := s.Refreshes.Add(1)
	time.Sleep(time.Duration(s.Delay.Load()))
	_, _ = fmt.Fprintf(w, `{"access_token":%q,"refresh_token":%q,"token_type":"Bearer","expires_in":%g}`,
		Token("a", int(n), AccessTokenSize), Token("r", int(n), RefreshTokenSize), time.Duration(s.Life.Load()).Seconds())
}

// Token returns a token of a size that is told apart by kind and number.
func Token(kind string, n, size int) string {
	text := fmt.Sprintf("%s%010d.", kind, n)
	for len(text) < size {
		text += "0123456789abcdef"
	}
	return text[:size]
}
