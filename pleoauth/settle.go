package pleoauth

import (
	"errors"
	"time"
)

// afterReset is how long after closing its own connection the holder of a mark asks
// again.
const afterReset = 2 * time.Second

// marked deals with a mark that stands on the record, or with a request of this
// process's own whose mark the record has lost: wait until both are over, by this
// process's own clock, then ask Pleo. 'Inactive' may be believed at any time,
// 'active' only once they are over; so the process whose own request has ended asks
// once early. m or own may be nil.
func (a *attempt) marked(snap Snapshot, g Grant, m *Mark, own *sentRequest, news <-chan struct{}) error {
	a.f.at(ErrRefreshUnsettled)
	var rest time.Duration
	if m != nil {
		rest = a.restOf(a.c, snap, m)
	}
	if own != nil {
		rest = max(rest, own.rest())
	}
	a.f.expect(time.Now().Add(rest))
	early := own != nil && (m == nil || m.Nonce == own.nonce) && !own.hangs() && !own.asked
	if rest > 0 && !early {
		a.leave()
		a.pause(min(rest, 2*time.Second), news)
		return nil
	}
	if fresh, err := a.enter(3); !fresh {
		return err
	}
	if own != nil {
		own.asked = true
	}
	return a.settle(snap, g, m, own, rest <= 0)
}

// knownSince returns since when this process counts a mark's life.
func (s *Source) knownSince(c *connection, snap Snapshot, m *Mark) time.Time {
	since := c.markSince(m.Nonce, time.Now())
	if m.EarlierRun {
		since = earlier(since, s.runs.earlierOver(snap.Run, since))
	}
	return since
}

// restOf returns for how long a mark stands that was read; 0 or less: it is over.
func (s *Source) restOf(c *connection, snap Snapshot, m *Mark) time.Duration {
	return m.Life - time.Since(s.knownSince(c, snap, m))
}

// settle asks Pleo whether the token under a mark lives, and goes on from there.
func (a *attempt) settle(snap Snapshot, g Grant, m *Mark, own *sentRequest, over bool) error {
	began := time.Now()
	said := a.ask(snap, g, true)
	a.settled(snap, said, began, over)
	switch said.tokenAnswer {
	case noAnswer:
		return a.unsettled(snap, said.err)
	case tokenDead:
		return a.lost(snap, g, m, over, ReasonLostResponse)
	case tokenLives, tokenSilent:
	}
	if !over {
		return nil // the request may still be travelling: ask again when the mark is over
	}
	if own != nil && own.hangs() {
		// Our own request still hangs: end it, and ask again whether it was
		// processed on the way.
		own.reset()
		a.rest(afterReset, nil)
		return nil
	}
	if said.tokenAnswer == tokenSilent {
		return a.silent(snap, g, m, said)
	}
	return a.refresh(snap, g, nonceOf(m), said)
}

func nonceOf(m *Mark) string {
	if m == nil {
		return ""
	}
	return m.Nonce
}

// unsettled ends the attempt because Pleo does not say whether the token lives.
func (a *attempt) unsettled(snap Snapshot, err error) error {
	kind, reason := unanswered(err)
	b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reason}
	_, _ = a.apply(a.c.name, snap, writeNote(snap.Version, b))
	return a.failed(kind, b.wait, err)
}

// errSilent: introspection does not speak about the connection's refresh token.
var errSilent = errors.New("introspection calls the refresh token inactive and cannot be believed; the holder of a newer grant is waited for")

// silent goes on where Pleo cannot be asked about a token that may have been spent.
// If no replica and no disk has brought a newer grant for a while, it is sent once.
func (a *attempt) silent(snap Snapshot, g Grant, m *Mark, said asked) error {
	if found, err := a.found(snap); err != nil || found {
		return err
	}
	if said.wait && a.c.silentFor(snap.Version, nonceOf(m)) < silenceWait {
		return a.unsettled(snap, errSilent)
	}
	if fresh, err := a.enter(1); !fresh {
		return err
	}
	return a.refresh(snap, g, nonceOf(m), said)
}

// found asks all replicas and this machine's disk for a newer grant, and reports
// whether one came. Its error ends the attempt.
func (a *attempt) found(snap Snapshot) (bool, error) {
	a.leave() // it is not Pleo that is waited for
	if found, err := a.whoHas(a.c, snap.Version); err != nil {
		return false, a.storeError(a.c.name, err)
	} else if found {
		return true, nil
	}
	a.readSpill()
	return a.c.left(snap.Version), nil
}

// lost ends a connection whose token is dead: the replica that holds the newer grant
// is asked to put it back; if none does, it is lost. m is the mark as it was read, or
// nil. The reason is [ReasonRevokedOrExpired] where nothing shows that a refresh was
// under way: then the grant has ended at Pleo.
func (a *attempt) lost(snap Snapshot, g Grant, m *Mark, over bool, reason Reason) error {
	if found, err := a.found(snap); err != nil || found {
		return err
	}
	if reason == ReasonLostResponse {
		if sure, err := a.askAgain(snap, g); err != nil || !sure {
			return err
		}
	}
	// A server that has been cut off from its replicas may not have heard of what the
	// other side stored: it ends nothing.
	confirmed, err := a.applyReplicated(a.c.name, snap, writeAgain(snap.Version), nil)
	if errors.Is(err, errRefused) {
		return nil
	}
	if err == nil && confirmed.Alone {
		err = errAlone
	}
	if err != nil {
		b := backOff{wait: a.backOffAfter(snap.Attempts), reason: reasonStoreUnavailable}
		_, _ = a.apply(a.c.name, snap, writeNote(snap.Version, b))
		return a.failed(ErrStoreUnavailable, b.wait, err)
	}
	if confirmed.Introspection != snap.Introspection { // another replica has found out that it cannot be believed
		return nil
	}
	after, err := a.apply(a.c.name, confirmed, writeEnd(snap.Version, nonceOf(m), random128(), reason, !over))
	if errors.Is(err, errRefused) {
		return nil
	}
	if err != nil {
		return a.storeError(a.c.name, err)
	}
	a.lostGrant(snap, reason)
	_, err = a.adopt(a.c, after, a.subscription.Load())
	return err
}

// timesAsked is how often Pleo has to call a token inactive that may have been spent.
const timesAsked = 3

// askAgain asks about a dead token until it was asked often enough, and reports
// whether Pleo kept to its word.
func (a *attempt) askAgain(snap Snapshot, g Grant) (bool, error) {
	for range timesAsked - 1 {
		for until := time.Now().Add(doubtWait); time.Now().Before(until); {
			news := a.c.news()
			if a.c.left(snap.Version) || a.stopping() {
				return false, nil
			}
			a.rest(time.Until(until), news)
		}
		if fresh, err := a.enter(2); !fresh {
			return false, err
		}
		said := a.ask(snap, g, true)
		if said.tokenAnswer == noAnswer {
			return false, a.unsettled(snap, said.err)
		}
		if said.tokenAnswer != tokenDead {
			return false, nil
		}
	}
	return true, nil
}
