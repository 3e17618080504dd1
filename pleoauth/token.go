package pleoauth

import (
	"context"
	"errors"
	"log/slog"
	"time"
)

// bearer is the scheme of the Authorization header (RFC 6750, section 2.1).
const bearer = "Bearer "

// Token is an access token in the form that a call needs it. It does not
// change, and does not print its value.
type Token struct {
	authorization string
	version       string
}

// Authorization returns the value of the Authorization header (RFC 6750,
// section 2.1).
func (t *Token) Authorization() string { return t.authorization }

// Version tells this token from the connection's others.
func (t *Token) Version() string { return t.version }

// String returns a fixed text.
func (t *Token) String() string { return redacted }

// GoString returns a fixed text, for the verb %#v.
func (t *Token) GoString() string { return redacted }

// LogValue returns a fixed text, for log/slog.
func (t *Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// Token returns the current token of a connection.
//
// With a valid token in memory it asks nobody, takes no lock and allocates
// nothing. Otherwise it waits for the store or for a refresh: until there is a
// token, ctx ends, or the refresh timeout is over. A caller that goes away
// changes nothing for the others.
//
// The error wraps [ErrInvalidConnection], is ctx's, or is a [*TokenError].
func (s *Source) Token(ctx context.Context, name string) (*Token, error) {
	now := time.Now()
	c := s.conns.get(name)
	if c != nil {
		c.touch(now)
		if v := c.view.Load(); v != nil && v.usable(now) && c.gate.Load() == nil {
			if now.After(v.refreshAt) && !c.flying.Load() && now.UnixNano() >= c.rests.Load() && now.After(s.dueAt(v)) {
				s.flyFor(ctx, c, v.version, false) // in the background: this call has its token
			}
			s.hit()
			return v.token, nil
		}
	}
	return s.tracedToken(ctx, name)
}

func (s *Source) slowToken(ctx context.Context, name string) (*Token, error) {
	if err := CheckConnection(name); err != nil {
		return nil, err
	}
	s.Start()
	c := s.connection(name)
	c.touch(time.Now())
	known := c.view.Load()
	// A load, and a refresh that ends with a state: two turns are enough,
	// unless somebody else changes the connection at the same time.
	waited := false // for a store that is away
	for range 4 {
		v, err := s.current(ctx, c)
		if err != nil {
			if c.view.Load() == nil {
				s.absentName(c) // it may well be none
			}
			return nil, err
		}
		if v.state != StateConnected {
			if v == known {
				s.hit()
			}
			return nil, v.ended(name)
		}
		if v.usable(time.Now()) {
			if c.gate.Load() == nil {
				return v.token, nil
			}
			if err := s.passGate(ctx, c); err != nil {
				return nil, err
			}
			continue
		}
		if wait := again401 - time.Since(v.pair.for401At); v.dead && wait > 0 {
			return nil, &TokenError{Kind: ErrRefreshFailed, Connection: name, RetryAfter: wait, Err: errRefusedAgain}
		}
		s.missed(MissRefresh)
		err = s.awaitFlight(ctx, c, s.flyFor(ctx, c, v.version, v.dead))
		if errors.Is(err, ErrStoreUnavailable) && !waited && s.awaitStore(ctx) {
			waited = true
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, &TokenError{Kind: ErrRefreshFailed, Connection: name, RetryAfter: time.Second}
}
