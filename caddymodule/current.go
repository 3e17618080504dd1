package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// startWait bounds how long a request waits for the app to start. Caddy starts
// its apps in any order, so that the first requests of a configuration can be
// there before its app.
const startWait = 5 * time.Second

// errNotStarted is returned when a request cannot be served because its
// configuration has not started, or will not.
var errNotStarted = errors.New("the proxy has not started yet")

// lifetime is when an app can serve: from its Start to its Cleanup.
type lifetime struct {
	shared  atomic.Pointer[sharedSource] // nil before Start
	started chan struct{}
	over    chan struct{}
	once    sync.Once
}

func newLifetime() *lifetime {
	return &lifetime{started: make(chan struct{}), over: make(chan struct{})}
}

func (l *lifetime) begin(shared *sharedSource) {
	l.shared.Store(shared)
	close(l.started)
}

func (l *lifetime) end() { l.once.Do(func() { close(l.over) }) }

// current returns the shared source, which stays open until its leave is called.
func (a *App) current(ctx context.Context) (*sharedSource, error) {
	shared := a.life.shared.Load()
	if shared == nil {
		var err error
		if shared, err = a.life.await(ctx); err != nil {
			return nil, err
		}
	}
	shared.enter()
	return shared, nil
}

func (l *lifetime) await(ctx context.Context) (*sharedSource, error) {
	timer := time.NewTimer(startWait)
	defer timer.Stop()
	select {
	case <-l.started:
		return l.shared.Load(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.over:
	case <-timer.C:
	}
	return nil, errNotStarted
}

// callToken is a token as a call needs it.
type callToken interface {
	Authorization() string
	Version() string
}

// tokenSource is what the transport asks of a source.
type tokenSource interface {
	Token(ctx context.Context, connection string) (callToken, error)
	Refused(ctx context.Context, connection string, refused callToken) (callToken, error)
}

// sourceTokens are a source's tokens for the transport.
type sourceTokens struct{ *pleoauth.Source }

func (s sourceTokens) Token(ctx context.Context, connection string) (callToken, error) {
	token, err := s.Source.Token(ctx, connection)
	if err != nil {
		return nil, err
	}
	return token, nil
}

func (s sourceTokens) Refused(ctx context.Context, connection string, refused callToken) (callToken, error) {
	ours, ok := refused.(*pleoauth.Token)
	if !ok {
		return nil, fmt.Errorf("the refused token is %T", refused)
	}
	token, err := s.Source.Refused(ctx, connection, ours)
	if err != nil {
		return nil, err
	}
	return token, nil
}

// Interface guards
var (
	_ callToken   = (*pleoauth.Token)(nil)
	_ tokenSource = sourceTokens{}
)
