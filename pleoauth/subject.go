package pleoauth

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A connection is pinned to the company that has authorised it first: no other may
// take it over. Where Pleo cannot be asked at that moment, the company is found out
// later, and until then no other consent is taken that cannot be compared.

const subjectAttempts = 3

// checkSubjectOf asks whose company authorised, and whether that is the one it
// has to be: the one asked for, and the one that the connection had before.
func (s *Source) checkSubjectOf(g Grant, f flow, before Snapshot) (string, error) {
	subject, err := s.subjectOf(g)
	if err != nil {
		if f.Subject != "" || before.Subject != "" && !s.config().AllowSubjectChange {
			return "", fmt.Errorf("%w: whose company it is could not be asked: %w", ErrExchangeFailed, err)
		}
		return "", nil
	}
	return s.compareSubject(subject, f, before)
}

// compareSubject reports whether a company is the one that it has to be.
func (s *Source) compareSubject(subject string, f flow, before Snapshot) (string, error) {
	known := before.Subject != "" && !s.config().AllowSubjectChange
	if f.Subject != "" && subject != f.Subject || known && subject != before.Subject {
		return subject, ErrOtherSubject
	}
	return subject, nil
}

// subjectOf asks Pleo whose company a fresh grant is, a few times.
func (s *Source) subjectOf(g Grant) (string, error) {
	var err error
	for k := range subjectAttempts {
		if k > 0 {
			s.pause(s.backOffAfter(0)/4, nil)
		}
		if k > 0 && s.stopping() {
			break // the way out waits for what is stored
		}
		var subject string
		if subject, _, err = s.askSubject(g); err == nil && subject != "" {
			return subject, nil
		}
	}
	if err == nil {
		err = errors.New("neither introspection nor the API names a company")
	}
	return "", err
}

// askSubject asks once whose company a grant is, and reports whether its access token
// lives.
func (s *Source) askSubject(g Grant) (subject string, lives bool, err error) {
	seen, err := s.introspect(g.AccessToken, AccessTokenKind)
	if err == nil && seen.Subject != "" {
		return seen.Subject, seen.Active, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), introspectionTimeout)
	defer cancel()
	subject, errAPI := s.oauth().APISubject(ctx, g.AccessToken)
	if errAPI == nil {
		return subject, true, nil
	}
	return "", err == nil && seen.Active, errAPI
}

// pinned returns the record with the company that it belongs to, before another
// consent is compared with it. Of a grant that is dead nothing can be found out any
// more: then the consent is taken, and the log says so.
func (e *exchange) pinned(snap Snapshot) (Snapshot, error) {
	if snap.Subject != "" || e.config().AllowSubjectChange {
		return snap, nil
	}
	if snap.State == StateReauthorisationRequired {
		e.cannotCompare(snap)
	}
	if snap.State != StateConnected {
		return snap, nil
	}
	if e.c.unnamedLately() {
		return snap, fmt.Errorf("%w: Pleo was asked a moment ago", ErrSubjectUnknown)
	}
	g, err := e.openGrant(e.c.name, snap.Sealed)
	if err != nil {
		return snap, storeFailed(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), exchangePatience)
	defer cancel()
	turn := e.pace.Turn(time.Time{})
	turn.Hurry()
	if !turn.Enter(2, ctx.Done()) {
		return snap, fmt.Errorf("%w: %w", ErrSubjectUnknown, ErrRateLimited)
	}
	defer turn.Leave()
	subject, _, err := e.askSubject(g)
	var refresh Introspection
	var asked error
	if err != nil || subject == "" {
		refresh, asked = e.introspect(g.RefreshToken, RefreshTokenKind)
		subject = refresh.Subject
	}
	if subject != "" {
		after, err := e.apply(e.c.name, snap, writeSubject(snap.Lineage, subject))
		if err != nil && !errors.Is(err, errRefused) {
			return snap, storeFailed(err)
		}
		return after, nil
	}
	if asked == nil && !refresh.Active && e.verdictOn(e.c, snap) == VerdictUsable {
		e.cannotCompare(snap)
		return snap, nil
	}
	e.c.unnamed.Store(time.Now().Unix())
	if !e.c.accessLives(snap) { // the next access token can name the company
		e.fly(e.c, snap.Version, false)
	}
	return snap, fmt.Errorf("%w: %w", ErrSubjectUnknown, errors.Join(err, asked))
}

// nameAgain is how long Pleo is not asked again whose company a connection is: every
// browser can bring the question about.
const nameAgain = 5 * time.Second

func (c *connection) unnamedLately() bool {
	return time.Since(time.Unix(c.unnamed.Load(), 0)).Abs() < nameAgain // the wall clock may be put back
}

func (e *exchange) cannotCompare(snap Snapshot) {
	e.logger().Warn("an authorisation cannot be compared with the one before it: whose company that was is not known, and its grant is dead",
		"connection", e.c.name, "generation", snap.Generation, "result", "unpinned")
}

// pin finds out whose company a connection belongs to, as soon as Pleo answers.
func (s *Source) pin(c *connection) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pinning {
		return
	}
	c.pinning = s.goWork(func() {
		defer func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.pinning = false
		}()
		for k := 0; !s.pinOnce(c); k++ {
			if s.pause(s.backOffAfter(k), nil); s.stopping() {
				return
			}
		}
	})
}

// pinOnce reports whether there is nothing left to find out.
func (s *Source) pinOnce(c *connection) bool {
	snap, err := s.read(c.name)
	if err != nil {
		return false
	}
	if snap.State != StateConnected || snap.Subject != "" {
		return true
	}
	g, err := s.openGrant(c.name, snap.Sealed)
	if err != nil || !c.accessLives(snap) {
		return true // the sweep says what is wrong with it; or the next pair's token is asked
	}
	turn := s.pace.Turn(time.Now().Add(snap.Remaining(snap.Expires)))
	if !turn.Enter(1, s.stop) {
		return true
	}
	subject, _, err := s.askSubject(g)
	turn.Leave()
	if err != nil || subject == "" {
		return false
	}
	after, err := s.apply(c.name, snap, writeSubject(snap.Lineage, subject))
	if err != nil {
		return errors.Is(err, errRefused) // authorised again
	}
	s.tellReread(c)
	s.logger().Info("whose company the connection belongs to is known now", "connection", c.name, "generation", after.Generation, "result", "pinned")
	return true
}
