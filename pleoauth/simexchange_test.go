package pleoauth_test

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// planExchanges has users authorise while the exchange of their codes is ambiguous,
// late or never answered: a connection that has a grant, one that has been
// disconnected, and a name that never had one.
func (s *sim) planExchanges() {
	for range 1 + s.odds.IntN(2) {
		name, p, next := s.names[s.odds.IntN(len(s.names))], s.anyProcess(), s.anyProcess()
		fault, again, disconnect, before := s.exchangeFault(), s.chance(2), s.chance(4), s.chance(4)
		pause := s.between(0, 10*time.Second)
		s.in(s.between(0, s.window*2/3), "a user's exchange goes wrong", func() {
			if before {
				s.disconnect(p, name)
			}
			s.say("Pleo, at the next exchange: %+v", fault)
			active := s.pleo.Fault(fault)
			if disconnect {
				go func() {
					select {
					case <-active.Reached():
						if s.sleep(pause) {
							s.disconnect(next, name)
						}
					case <-s.end:
					}
				}()
			}
			if s.authoriseAs(p, name) != nil && again {
				_ = s.authoriseAs(next, name) // the user starts again at once
			}
		})
	}
}

func (s *sim) exchangeFault() pleotest.Fault {
	f := pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Times: 1 + s.odds.IntN(4)/3}
	switch s.odds.IntN(10) {
	case 0, 1:
		f.Status, f.Process, f.ProcessAfter = 502, pleotest.ProcessedLater, s.between(0, s.processing())
	case 2:
		f.DelayAfter = s.between(0, 3*longest)
	case 3:
		f.Hold = pleotest.AfterProcessing // until the faults end
	case 4:
		f.DelayBefore = s.between(0, s.processing())
	case 5:
		f.Drop = pleotest.AfterProcessing
	case 6:
		f.Drop = pleotest.BeforeProcessing
	case 7:
		f.Drop = pleotest.MidBody
	case 8:
		f.Status, f.Header = 429, http.Header{"Retry-After": {"5"}}
	case 9:
		f.Status, f.Body = 400, `{"error":"invalid_request"}`
	}
	return f
}

// authoriseAs has a user authorise a name, who comes back with the same callback
// for as long as the page says that it is not time yet.
func (s *sim) authoriseAs(p *process, name string) (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	begun, err := p.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: name})
	if err != nil {
		return err
	}
	back, err := s.pleo.Approve(begun.URL, s.companyOf(name))
	if err != nil {
		return err
	}
	var count, failures int
	s.userOf(name, func(u *acts) {
		u.consents++
		u.underWay++
		count, failures = u.count, u.failures
	})
	for {
		var completed pleoauth.Completed
		completed, err = p.CompleteAuthorisation(ctx, callback(s.t, back, begun))
		if !errors.Is(err, pleoauth.ErrAuthorisationPending) || ctx.Err() != nil {
			break
		}
		s.say("the user of %s is to come back in %v", name, completed.RetryAfter)
		if !s.sleep(max(completed.RetryAfter, time.Second)) {
			return err
		}
	}
	s.userOf(name, func(u *acts) {
		u.underWay--
		switch {
		case err != nil: // a code may have been exchanged, which may have ended the grant before
			u.failures++
			u.failed = true
		case u.count == count:
			u.revoked, u.disconnected = false, false
			if u.failures == failures && u.underWay == 0 && s.theme == exchanges {
				u.failed = false // what was ambiguous has been waited out, and this grant is the last
			}
		}
	})
	s.say("%s authorised at %s: %v", name, p, err)
	return err
}
