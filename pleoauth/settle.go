package pleoauth

import (
	"context"
	"errors"
	"time"
)

const (
	// afterReset is how long after closing its own connection the holder of a
	// mark asks again.
	afterReset = 2 * time.Second
	// answerGood is how long after Pleo said 'active' the token may be sent.
	answerGood = 2 * time.Second
	// doubtWait is how long to wait where Pleo's answers do not fit together.
	doubtWait = 5 * time.Second
	maxDoubts = 3
)

// marked deals with a mark that stands on the record: wait until it is over,
// by this process's own clock, then ask Pleo. 'Inactive' may be believed at
// any time, 'active' only once the mark is over; so the process whose own
// request has ended asks once early.
func (a *attempt) marked(snap Snapshot, m *Mark, news <-chan struct{}) error {
	a.f.at(ErrRefreshUnsettled)
	since := a.c.markSince(m.Nonce, time.Now())
	if m.EarlierRun {
		since = earlier(since, a.runs.earlierOver(snap.Run, since))
	}
	rest := m.Life - time.Since(since)
	a.f.expect(since.Add(m.Life))
	own := a.c.sentUnder(m.Nonce)
	if rest > 0 && (own == nil || own.hangs() || own.asked) {
		a.pause(min(rest, 2*time.Second), news)
		return nil
	}
	if own != nil {
		own.asked = true
	}
	return a.settle(snap, m, own, rest <= 0)
}

// settle asks Pleo whether the token under a mark lives, and goes on from there.
// own is the request that this process sent under the mark, or nil.
func (a *attempt) settle(snap Snapshot, m *Mark, own *sentRequest, over bool) error {
	g, err := a.openGrant(a.c.name, snap.Sealed)
	if err != nil {
		return a.storeError(a.c.name, err)
	}
	asked := time.Now()
	active, err := a.refreshTokenLives(snap, g)
	a.settled(snap, active, err, asked, over)
	if err != nil {
		kind, reason := unanswered(err)
		b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reason}
		_, _ = a.apply(a.c.name, snap, writeNote(snap.Version, b))
		return a.failed(kind, b.wait, err)
	}
	if !active {
		return a.lost(snap, m, over)
	}
	if !over {
		return nil // the request may still be travelling: ask again when the mark is over
	}
	if own != nil && own.hangs() {
		// Our own request still hangs: end it, and ask again whether it was
		// processed on the way.
		own.reset()
		a.pause(afterReset, nil)
		return nil
	}
	return a.refresh(snap, m.Nonce, asked)
}

// refreshTokenLives introspects the refresh token. Where that is active but
// the access token, whose time is not over, is not, one of two servers behind
// Pleo's endpoint may lag behind the other: then it asks again.
func (a *attempt) refreshTokenLives(snap Snapshot, g Grant) (bool, error) {
	for {
		ctx, cancel := context.WithTimeout(context.Background(), introspectionTimeout)
		refresh, err := a.oauth().Introspect(ctx, g.RefreshToken, RefreshTokenKind)
		cancel()
		if err != nil || !refresh.Active || snap.Remaining(snap.Expires) < time.Second || a.doubts >= maxDoubts {
			return refresh.Active, err
		}
		ctx, cancel = context.WithTimeout(context.Background(), introspectionTimeout)
		access, err := a.oauth().Introspect(ctx, g.AccessToken, AccessTokenKind)
		cancel()
		if err != nil {
			return false, err
		}
		if access.Active {
			return true, nil
		}
		a.doubts++
		a.pause(doubtWait, nil)
	}
}

// lost: the token was spent, and the answer did not reach the store. Whoever
// holds the pair is asked to put it back; if nobody does, it is lost.
func (a *attempt) lost(snap Snapshot, m *Mark, over bool) error {
	if somebody, err := a.whoHas(a.c, snap.Version); err != nil {
		return a.storeError(a.c.name, err)
	} else if somebody {
		return nil
	}
	a.readSpill()
	if a.c.left(snap.Version) {
		return nil // it was on this machine's disk
	}
	after, err := a.apply(a.c.name, snap, writeEnd(snap.Version, m.Nonce, random128(), ReasonLostResponse, !over))
	if errors.Is(err, errRefused) {
		return nil
	}
	if err != nil {
		return a.storeError(a.c.name, err)
	}
	a.logger().Error("a refresh was processed and its answer was lost: reauthorisation required",
		"connection", a.c.name, "generation", snap.Generation, "duration", time.Since(a.c.markSince(m.Nonce, time.Now())), "result", "lost_response")
	a.settleEnded(SettledLostResponse)
	_, err = a.adopt(a.c, after, a.subscription.Load())
	return err
}
