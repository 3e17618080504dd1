package pleoauth

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/internal/pace"
)

// flight is the one refresh that a connection has under way in this process.
// It belongs to nobody's request: callers wait for it with their own contexts.
type flight struct {
	// goal is the version that has to be left behind. Timer, expired token and
	// refused token all ask for the same: a version other than this one.
	goal   string
	for401 bool
	// forced is set where a person asks for the refresh: no wait that Pleo has named
	// holds it.
	forced atomic.Bool
	// turn is the flight's place among the requests to Pleo.
	turn    *pace.Turn
	started time.Time
	// waited is when what callers wait for now began: the flight, or the sending
	// of the token, here or by another replica, for which a mark may have had to be
	// waited out first.
	waited atomic.Pointer[time.Time]
	// stage is the kind of error for callers who stop waiting now.
	stage atomic.Pointer[error]
	// until is when the wait that the flight is in should be over.
	until atomic.Pointer[time.Time]
	done  chan struct{}
	err   error // set when done is closed
	sent  bool  // the flight's own: its token has left, or may have
}

func (f *flight) at(kind error) { f.stage.Store(&kind) }

// expect notes when it is worth asking again.
func (f *flight) expect(until time.Time) { f.until.Store(&until) }

// givenUp is the error for a caller who stops waiting for the flight now.
func (f *flight) givenUp(connection string) error {
	wait := time.Second
	if until := f.until.Load(); until != nil {
		wait = max(wait, time.Until(*until))
	}
	return &TokenError{Kind: *f.stage.Load(), Connection: connection, RetryAfter: wait, Err: errStillWaiting}
}

// force has the flight wait for nothing that Pleo has named.
func (f *flight) force() {
	f.forced.Store(true)
	f.turn.Force()
}

// fly is flyFor where no call is behind it.
func (s *Source) fly(c *connection, goal string, for401 bool) *flight {
	return s.flyFor(context.Background(), c, goal, for401)
}

// flyFor returns the connection's flight, started if there is none. A flight that
// failed a moment ago is returned again, instead of one more. The context is the
// call's that asks for it, for the tracer alone: its end ends no flight.
func (s *Source) flyFor(ctx context.Context, c *connection, goal string, for401 bool) *flight {
	return s.startRefresh(ctx, c, goal, for401, false)
}

// startRefresh is flyFor, for a person if forced is set.
func (s *Source) startRefresh(ctx context.Context, c *connection, goal string, for401, forced bool) *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.flight != nil {
		if forced {
			c.flight.force()
			c.flight.waited.Store(&now)
		}
		return c.flight
	}
	f := &flight{goal: goal, for401: for401, started: now, done: make(chan struct{})}
	var expires time.Time
	if v := c.view.Load(); v != nil {
		expires = v.expires
	}
	f.turn = s.pace.Turn(expires)
	if forced {
		f.force()
	}
	f.at(ErrStoreUnavailable)
	f.waited.Store(&now)
	if c.failing.err != nil && now.Before(c.failing.until) && !forced {
		f.err = c.failing.err
		close(f.done)
		return f
	}
	c.flight = f
	c.flying.Store(true)
	stopping := s.stopping()
	if stopping {
		c.rests.Store(now.Add(time.Second).UnixNano()) // calls that have a token do not ask again at once
	}
	if stopping || !s.goWork(func() { s.runFlight(ctx, c, f) }) {
		c.flight = nil
		c.flying.Store(false)
		f.err = &TokenError{Kind: ErrRefreshFailed, Connection: c.name, RetryAfter: time.Second, Err: errClosing}
		close(f.done)
	}
	return f
}

func (s *Source) runFlight(ctx context.Context, c *connection, f *flight) {
	err := s.tracedAttempt(ctx, c, f)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flight = nil
	c.flying.Store(false)
	f.err = err
	if err != nil {
		c.failing.err, c.failing.until = err, time.Now().Add(holdBack(err, c.failing.times))
		c.failing.times++
		c.rests.Store(c.failing.until.UnixNano())
	} else {
		c.failing.err, c.failing.times = nil, 0
		c.rests.Store(0)
	}
	close(f.done)
	c.wakeLocked()
}

// holdBack is how long this process starts no other flight after a failed one.
// It is short: the record's back-off, which a new flight reads, is the one that
// protects Pleo, and it may have been lifted meanwhile.
func holdBack(err error, times int) time.Duration {
	wait := min(50*time.Millisecond<<min(times, 5), time.Second)
	if e := new(TokenError); errors.As(err, &e) && !errors.Is(err, ErrStoreUnavailable) {
		wait = max(wait, min(e.RetryAfter, 5*time.Second))
	}
	return wait
}

// awaitFlight waits for a flight's end, or returns why the caller has waited
// long enough: its own context, or the refresh timeout since the flight began or
// has sent the token.
func (s *Source) awaitFlight(ctx context.Context, c *connection, f *flight) error {
	f.turn.Hurry()
	for {
		waited := f.waited.Load()
		timer := time.NewTimer(s.config().RefreshTimeout - time.Since(*waited))
		select {
		case <-f.done:
			timer.Stop()
			return f.err
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
			if f.waited.Load() == waited {
				return f.givenUp(c.name)
			}
		}
	}
}

var errStillWaiting = errors.New("a refresh is under way and has taken longer than refresh_timeout")

// backOffAfter is the wait after k failed attempts: exponential, bounded, with
// jitter. (Pleo's documentation: centralised token refresh.)
func (s *Source) backOffAfter(k int) time.Duration {
	d := min(time.Second<<min(max(k, 0), 6), time.Minute)
	return d/2 + s.spread(d/2)
}

// spread returns a random part of d.
func (s *Source) spread(d time.Duration) time.Duration {
	return time.Duration(s.random(int64(max(d, 0)) + 1))
}
