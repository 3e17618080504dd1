package pleoauth

import (
	"errors"
	"time"
)

// staleAfter is after how long a wait a record has to be read again.
const staleAfter = time.Second

// enter waits for the attempt's turn to make a number of requests, unless it has it
// already. It reports false if the record has to be read again first, the turn kept:
// another replica may have been faster. The error says that the source closes. The
// wait does not count as time that the attempt takes.
func (a *attempt) enter(requests int) (fresh bool, err error) {
	if a.entered {
		return true, nil
	}
	if errors.Is(*a.f.stage.Load(), ErrStoreUnavailable) { // it has answered by now
		a.f.at(ErrRefreshFailed)
	}
	began := time.Now()
	a.entered = a.f.turn.Enter(requests, a.stop)
	waited := time.Since(began)
	a.waited += waited
	if !a.entered {
		return false, a.failed(ErrRefreshFailed, time.Second, errClosing)
	}
	return waited < staleAfter && !a.c.left(a.f.goal), nil
}

// leave lets other connections' requests go on.
func (a *attempt) leave() {
	if a.entered {
		a.f.turn.Leave()
		a.entered = false
	}
}

// rest pauses between requests, without keeping other connections' from theirs.
func (a *attempt) rest(d time.Duration, news <-chan struct{}) {
	entered := a.entered
	a.leave()
	a.pause(d, news)
	if entered {
		_, _ = a.enter(1) // an attempt that may not go on finds out at its next step
	}
}

// paced notes what a request, sent at a time, says of the pace that Pleo takes.
func (s *Source) paced(sent time.Time, err error) {
	refusal := new(OAuthError)
	if errors.As(err, &refusal) && errors.Is(err, ErrRateLimited) {
		s.pace.Refused(sent, refusal.RetryAfter)
		return
	}
	if err == nil || refusal.Status != 0 {
		s.pace.Served()
	}
}
