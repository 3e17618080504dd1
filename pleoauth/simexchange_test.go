package pleoauth_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// planExchanges has users authorise while the exchange of their codes is ambiguous,
// late or never answered: a connection that has a grant, one that has been
// disconnected, and a name that never had one.
func (s *sim) planExchanges() {
	if s.nuisance {
		s.planNuisance()
		return
	}
	for range 1 + s.odds.IntN(2) {
		name, p, next := s.names[s.odds.IntN(len(s.names))], s.anyProcess(), s.anyProcess()
		fault, again, disconnect, before := s.exchangeFault(), s.odds.IntN(4), s.chance(4), s.chance(2)
		pause := s.between(0, 10*time.Second)
		s.in(s.between(0, s.window*2/3), "a user's exchange goes wrong", func() {
			if before {
				s.disconnect(s.instead(p), name)
			}
			s.say("Pleo, at the next exchange: %+v", fault)
			active := s.pleo.Fault(fault)
			if disconnect {
				go func() {
					select {
					case <-active.Reached():
						if s.sleep(pause) {
							s.disconnect(s.instead(next), name)
						}
					case <-s.end:
					}
				}()
			}
			err := s.authoriseAs(s.instead(p), name)
			for range again { // the user starts again at once
				if err != nil {
					err = s.authoriseAs(s.instead(next), name)
				}
			}
		})
	}
}

func (s *sim) exchangeFault() pleotest.Fault {
	f := pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Times: 1 + s.odds.IntN(4)/3}
	switch s.odds.IntN(12) {
	case 0, 1, 10, 11:
		f.Status, f.Process, f.ProcessAfter = 502, pleotest.ProcessedLater, s.between(0, s.processing())
	case 2:
		f.DelayAfter = s.between(0, longest)
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
	if err == nil && s.theme == exchanges {
		s.watchGrant(name)
	}
	return err
}

// watchGrant sees that a grant which a consent has just brought is not ended by an
// exchange that was made before, is ambiguous, and is processed later (N6). A store
// that has forgotten that exchange's mark leaves it to chance.
func (s *sim) watchGrant(name string) {
	var before acts
	s.userOf(name, func(u *acts) { before = *u })
	token := s.refreshToken(name, s.store.record(name))
	if before.failed || before.underWay > 0 || !s.isLive(token) {
		return
	}
	time.AfterFunc(s.processing()+time.Second, func() {
		if s.over.Load() || s.isLive(token) {
			return
		}
		s.mu.Lock()
		u, forgot := *s.ledger.users[name], s.ledger.forgot
		spent := slices.ContainsFunc(s.sent, func(r *sent) bool { return r.token == token })
		s.mu.Unlock()
		if u.consents == before.consents && u.count == before.count && !spent && !forgot {
			s.broken("I2: the grant that %s has got was ended by an earlier exchange", name)
		}
	})
}

// planNuisance has a stranger's browser bring exchanges about, one after
// another: with codes that Pleo refuses, and some that it never answers. There is
// no other fault.
func (s *sim) planNuisance() {
	silent := s.chance(3)
	if !silent && s.chance(2) {
		s.planRudeness()
		return
	}
	for at := time.Duration(0); at < s.window; at += s.between(time.Second, 12*time.Second) {
		p := s.anyProcess()
		hold := silent && s.chance(4)
		time.AfterFunc(at, func() {
			if hold {
				s.say("Pleo never answers the next exchange")
				s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.BeforeProcessing})
			}
			s.badCode(p)
		})
	}
}

// planRudeness has many browsers do so without a pause, while Pleo takes its time: the
// connection's lock is never free for long.
func (s *sim) planRudeness() {
	s.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, DelayAfter: 2 * time.Second, Times: pleotest.Always})
	for range 8 {
		go func() {
			for !s.calm.Load() && s.sleep(time.Millisecond) && len(s.living()) > 0 {
				s.badCode(s.living()[0])
			}
		}()
	}
}

// judgeOutage: a consent never starves a living grant (N5). Where a browser's
// exchanges are all that is wrong, calls fail no longer than one ambiguous exchange
// is waited out and a refresh takes.
func (s *sim) judgeOutage(p *process, name string, err error) {
	if !s.nuisance || name == "fresh" {
		return
	}
	s.mu.Lock()
	key := p.String() + " " + name
	if err == nil || s.served[key].IsZero() {
		s.served[key] = time.Now()
	}
	out := time.Since(s.served[key])
	s.mu.Unlock()
	timeout := s.cfg.WithDefaults().RefreshTimeout
	if bound := 2*(timeout+5*time.Second) + 2*timeout + 12*time.Second; out > bound {
		s.broken("N5: calls for %s at %s have failed for %v, since exchanges go before its refresh: %v", name, p, out, err)
	}
}
