package pleoauth

import (
	"context"
	"errors"
	"time"
)

const (
	// believedFor is how long Pleo's word on a refused token holds, also for
	// callers who come so late to ask that the answer is already there.
	believedFor = 30 * time.Second
	// again401 is how soon after a refresh for a 401 another 401 does not
	// refresh: an API that accepts no token at all would rotate them for ever.
	again401 = 30 * time.Second
)

// verdict is what Pleo said of a refused token.
type verdict struct {
	version string
	alive   bool
	err     error
	// flight is set instead where a mark stands: it waits for that.
	flight *flight
	until  time.Time
}

// Refused says what to do after the API has answered 401 to a call with the
// given token. It returns another token to send the call again with, or an
// error that wraps [ErrTokenAlive] if the 401 is the application's own, or one
// as [Source.Token] returns.
//
// A token that is no longer the current one is simply replaced by that. While
// a refresh or a mark is known, it waits for that. Otherwise Pleo is asked
// once for all callers, and the token refreshed once if it is dead.
func (s *Source) Refused(ctx context.Context, name string, refused *Token) (*Token, error) {
	if err := CheckConnection(name); err != nil {
		return nil, err
	}
	s.Start()
	cause := RefusalUnknown
	defer func() { s.refusedFor(cause) }()
	c := s.connection(name)
	c.touch(time.Now())
	waited := false // for a store that is away
	for range 3 {
		if err := s.passGate(ctx, c); err != nil {
			return nil, err
		}
		v, err := s.current(ctx, c)
		if err != nil {
			return nil, err
		}
		if v.state != StateConnected || v.version != refused.version || v.dead {
			cause = whyRefused(refused, v)
			return s.Token(ctx, name)
		}
		f := c.underWay()
		if f == nil {
			judged, err := s.askOnce(ctx, c, v)
			switch {
			case err != nil:
				return nil, err
			case judged.version != v.version || c.left(v.version):
				continue
			case judged.err != nil:
				return nil, judged.err
			case judged.alive:
				cause = RefusalAlive
				return nil, &TokenError{Kind: ErrTokenAlive, Connection: name}
			case judged.flight == nil: // dead
				cause = RefusalDead
				s.refuse(c, v.version) // once more: the record may have been read anew since Pleo was asked
				return s.Token(ctx, name)
			}
			f = judged.flight
		}
		err = s.awaitFlight(ctx, c, f)
		if errors.Is(err, ErrStoreUnavailable) && !waited && s.awaitStore(ctx) {
			waited = true
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, &TokenError{Kind: ErrRefreshUnsettled, Connection: name, RetryAfter: time.Second}
}

var errRefusedAgain = errors.New("the API refuses a token that was just obtained because the one before had been refused")

func (c *connection) underWay() *flight {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.flight
}

// askOnce returns the verdict on the current token, asked for once by all.
func (s *Source) askOnce(ctx context.Context, c *connection, v *view) (verdict, error) {
	c.mu.Lock()
	if known := c.verdict; known.version == v.version && time.Now().Before(known.until) {
		c.mu.Unlock()
		return known, nil
	}
	asking := c.asking
	if asking == nil {
		asking = &call{done: make(chan struct{})}
		c.asking = asking
		if !s.goWork(func() { s.ask(ctx, c, v, asking) }) {
			c.asking = nil
			asking.err = errClosing
			close(asking.done)
		}
	}
	c.mu.Unlock()
	if err := s.awaitCall(ctx, c, asking); err != nil {
		if ctx.Err() == nil && asking.pleo.Load() {
			err = &TokenError{Kind: ErrRefreshUnsettled, Connection: c.name, RetryAfter: time.Second, Err: errStillWaiting}
		}
		return verdict{}, err
	}
	if asking.err != nil {
		return verdict{}, s.storeError(c.name, asking.err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.verdict, nil
}

// ask reads the record once more, for the refusal may be the work of another
// replica's refresh, and only then asks Pleo. It outlives the call that it is for.
func (s *Source) ask(ctx context.Context, c *connection, v *view, done *call) {
	next, err := s.judge(ctx, c, v, done)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.verdict, c.asking, done.err = next, nil, err
	close(done.done)
}

func (s *Source) judge(caller context.Context, c *connection, v *view, asking *call) (verdict, error) {
	subscription := s.subscription.Load()
	if snap, err := s.read(c.name); err == nil {
		if _, err := s.adopt(c, snap, subscription); err != nil {
			return verdict{}, err
		}
		if c.left(v.version) {
			return verdict{}, nil
		}
		// The unknown mark of an answer without a refresh token is not settled before
		// its time: that may end the last access token that there is.
		last := v.pair.grant.NoRefreshToken
		if m := snap.Marked(); m != nil && (!last || m.Kind != MarkUnknown) {
			return verdict{version: v.version, flight: s.flyFor(caller, c, v.version, true)}, nil
		}
	}
	if pause := s.pace.Pause(); pause > 0 { // Pleo has asked all of this client to wait
		return verdict{version: v.version, until: time.Now().Add(pause), err: &TokenError{
			Kind: ErrRefreshUnsettled, Connection: c.name, RetryAfter: pause, Err: ErrRateLimited,
		}}, nil
	}
	asking.pleo.Store(true)
	turn := s.pace.Turn(time.Time{})
	turn.Hurry()
	if !turn.Enter(1, s.stop) {
		return verdict{}, errClosing
	}
	asked := time.Now()
	seen, err := s.introspect(v.pair.grant.AccessToken, AccessTokenKind)
	if err == nil && !seen.Active && (s.deaf.Load() || !v.pair.introspection.believed()) {
		access, _ := s.askAboutAccess(v.pair.grant) // introspection alone does not tell
		seen.Active = access == tokenLives
	}
	turn.Leave()
	log := s.logger().With("connection", c.name, "generation", v.generation, "duration", time.Since(asked))
	if err == nil {
		c.mu.Lock()
		c.unjudged = 0
		c.mu.Unlock()
	}
	switch {
	case err != nil:
		c.mu.Lock()
		wait := s.backOffAfter(c.unjudged)
		c.unjudged++
		c.mu.Unlock()
		kind, _ := unanswered(err)
		log.Warn("a refused token could not be introspected", "result", string(RefusalUnknown), "error", err)
		return verdict{version: v.version, until: time.Now().Add(wait), err: &TokenError{
			Kind: kind, Connection: c.name, RetryAfter: wait, Err: err,
		}}, nil
	case seen.Active:
		log.Debug("the API refused the token, and Pleo says that it is alive: the refusal is the application's", "result", string(RefusalAlive))
		return verdict{version: v.version, alive: true, until: time.Now().Add(believedFor)}, nil
	}
	log.Warn("the API refused the token, and Pleo says that it is dead", "result", string(RefusalDead))
	s.refuse(c, v.version)
	return verdict{version: v.version, until: time.Now().Add(believedFor)}, nil
}
