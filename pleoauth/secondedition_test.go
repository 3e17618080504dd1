package pleoauth_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// An operator copies a record, it is refreshed, and the copy is written back, while
// one replica holds the live pair.
func TestARecordThatIsWrittenBackCostsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		copied := w.store.record("default")
		require.NoError(t, a.Refresh(t.Context(), "default"))
		w.store.put("default", copied)

		b := w.replica() // restarted: it knows the copy alone
		token, err := b.Token(t.Context(), "default")
		require.NoError(t, err)
		if !w.lives(token) { // as the API would find
			token, err = b.Refused(t.Context(), "default", token)
			require.NoError(t, err)
		}
		require.True(t, w.lives(token))
		require.True(t, w.lives(w.token(a, "default")))
		require.Equal(t, int64(2), w.store.record("default").Generation, "the live pair is put back")
		require.Zero(t, deadTokensSent(w))
	})
}

func deadTokensSent(w *world) int {
	c := w.pleo.Counters()
	return c.Replays + c.DeadRefreshes
}

// Where a second consent is the same authorisation at Pleo, the first name's grant is
// dead: to spend it would cost the second name's.
func TestTheConsentOfAnotherNameIsNotUndoneByTheFirst(t *testing.T) {
	for name, wait := range map[string]time.Duration{"within its access token's life": 0, "after it": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pleotest.WithSecondConsentReplacing())
				r := w.replica()
				w.authorise(r, "a", "")
				first := w.token(r, "a")
				w.authorise(r, "b", "")
				time.Sleep(wait)
				_, err := r.Token(t.Context(), "a")
				if err == nil {
					_, err = r.Refused(t.Context(), "a", first)
				}
				require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
				require.True(t, w.lives(w.token(r, "b")))
				require.Zero(t, deadTokensSent(w))
			})
		})
	}
}

// An anonymous browser brings one exchange about after the other, with a code that is
// none, and Pleo fails them in ways that leave it open what became of them.
func TestABrowserThatBringsExchangesAboutHoldsNoRefreshUp(t *testing.T) {
	for name, fault := range map[string]pleotest.Fault{
		"403": {Status: 403, Body: "<html>"}, "429": {Status: 429}, "500": {Status: 500}, "a refusal": {},
		"silence": {Hold: pleotest.BeforeProcessing},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute))
				r := w.replica()
				w.authorise(r, "default", "")
				w.token(r, "default")
				fault.Endpoint, fault.GrantType, fault.Times = pleotest.Token, pleotest.AuthorizationCode, pleotest.Always
				if fault.Status > 0 || fault.Hold != "" {
					w.pleo.Fault(fault)
				}
				over := make(chan struct{})
				go func() {
					defer close(over)
					for began := time.Now(); time.Since(began) < 10*time.Minute; {
						begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
						back, err := w.pleo.Approve(begun.URL, "")
						if err != nil {
							return
						}
						cb := callback(t, back, begun)
						cb.Code = "garbage"
						_, _ = w.complete(r, cb)
						time.Sleep(100 * time.Millisecond)
					}
				}()
				for range 10 * 60 {
					w.token(r, "default")
					time.Sleep(time.Second)
				}
				<-over
				require.GreaterOrEqual(t, w.pleo.Counters().Refreshes, 3)
				require.Zero(t, deadTokensSent(w))
			})
		})
	}
}

// Pleo takes an exchange and never answers: no call fails, and the user can try again
// as soon as nothing can be on its way any more.
func TestAnExchangeThatIsNeverAnsweredKeepsNoCallAndNoUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.BeforeProcessing})
		time.Sleep(110 * time.Second) // the token is due now
		began := time.Now()
		completed, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		require.NotZero(t, completed.RetryAfter)
		require.Less(t, time.Since(began), 20*time.Second)
		for range 5 * 60 {
			w.token(r, "default")
			time.Sleep(time.Second)
		}
		w.authorise(r, "default", "")
		w.token(r, "default")
	})
}

// A first exchange is answered by an edge, and processed later. The next consent is
// the same authorisation at Pleo: exchanged too early, its grant would be killed.
func TestASecondConsentWaitsForAFirstOneThatMayStillBeProcessed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithSecondConsentReplacing())
		r := w.replica()
		w.pleo.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode,
			Status: 502, Process: pleotest.ProcessedLater, ProcessAfter: 9 * time.Second,
		})
		completed, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		require.InDelta(t, 15, completed.RetryAfter.Seconds(), 1, "the user is told when to start again")

		begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		completed, err = r.CompleteAuthorisation(t.Context(), cb)
		require.ErrorIs(t, err, pleoauth.ErrAuthorisationPending)
		require.InDelta(t, 13, completed.RetryAfter.Seconds(), 2)
		time.Sleep(completed.RetryAfter)
		_, err = r.CompleteAuthorisation(t.Context(), cb)
		require.NoError(t, err, "the same callback works")
		time.Sleep(time.Minute)
		require.True(t, w.lives(w.token(r, "default")))
		require.Zero(t, deadTokensSent(w))
	})
}

// RFC 7662 lets a server call every refresh token inactive.
func TestAnIntrospectionThatKnowsNoRefreshTokensCostsNothingAndIsSaid(t *testing.T) {
	for name, introspection := range map[string]pleotest.Introspection{
		"inactive":         {Unknown: []pleotest.TokenKind{pleotest.RefreshToken}},
		"all are inactive": {Unknown: []pleotest.TokenKind{pleotest.RefreshToken, pleotest.AccessToken}},
		"401":              {Unknown: []pleotest.TokenKind{pleotest.RefreshToken}, Status: 401},
		"404 for all":      {Unknown: []pleotest.TokenKind{pleotest.RefreshToken, pleotest.AccessToken}, Status: 404},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, pleotest.WithIntrospection(introspection))
				r := w.replica()
				w.authorise(r, "default", "")
				time.Sleep(time.Minute)
				require.Contains(t, w.log.String(), "introspection cannot be believed")
				require.Equal(t, 1, r.Stats().IntrospectionUnusable)
				health := r.Health(t.Context())
				require.Equal(t, pleoauth.HealthDegraded, health.Status)
				info, err := r.Connection(t.Context(), "default")
				require.NoError(t, err)
				require.Equal(t, "unusable", info.Introspection)

				for range 3 {
					w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 503}) // not processed
					time.Sleep(20 * time.Minute)
					_, _ = r.Token(t.Context(), "default")
					time.Sleep(11 * time.Minute) // no replica brings a newer grant
					w.token(r, "default")
				}
				require.Zero(t, deadTokensSent(w))

				require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{}))
				require.NoError(t, r.Refresh(t.Context(), "default"))
				require.Zero(t, r.Stats().IntrospectionUnusable, "an active token repeals it")
			})
		})
	}
}

// An introspection that knew refresh tokens, and from now on knows none, is found out
// by the first refresh that shows it, also where each token is idle until its access
// token is over.
func TestAnIntrospectionThatIsChangedForGoodHoldsAnIdleConnectionUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		w.authorise(r, "another", pleotest.Companies()[1].Name)
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		time.Sleep(20 * time.Minute)
		require.ErrorIs(t, r.Refresh(t.Context(), "default"), pleoauth.ErrRefreshUnsettled, "a replica may have a newer grant")
		time.Sleep(11 * time.Minute)
		for range 3 {
			require.NoError(t, r.Refresh(t.Context(), "default"))
			time.Sleep(20 * time.Minute)
		}
		require.Zero(t, deadTokensSent(w))
		require.Equal(t, 1, r.Stats().IntrospectionUnusable)
	})
}

// What a replica has found out about introspection is written to the record. A failover
// that loses this write leaves an older verdict there, which the replica does not take
// over what it has seen itself.
func TestAVerdictThatAFailoverHasLostIsNotForgottenByTheReplicaThatFoundItOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		before, err := r.store.Read(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, pleoauth.VerdictUsable, before.Introspection)

		// While the access token lives, a refresh finds out that introspection knows no
		// refresh tokens any more.
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		require.NoError(t, r.Refresh(t.Context(), "default"))
		time.Sleep(14 * time.Minute) // until it has been refreshed once more, and is idle
		found, err := r.store.Read(t.Context(), "default")
		require.NoError(t, err)
		require.Equal(t, pleoauth.VerdictAccessTokens, found.Introspection)

		lost := found.Record
		lost.Introspection, lost.HeardActive = before.Introspection, before.HeardActive
		_, err = r.store.Swap(t.Context(), "default", found, lost, pleoauth.SwapOptions{})
		require.NoError(t, err)
		time.Sleep(20 * time.Minute) // nothing contradicts introspection any more
		_, _ = r.Token(t.Context(), "default")
		time.Sleep(11 * time.Minute)
		w.token(r, "default")
		require.Zero(t, deadTokensSent(w))
	})
}

// An introspection that is out of order for an hour, and calls every token inactive,
// is asked before every refresh of every connection.
func TestAnIntrospectionThatCallsEverythingInactiveForAnHourEndsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		names := []string{"a", "b", "c", "idle"}
		for i, name := range names {
			w.authorise(r, name, pleotest.Companies()[i%len(pleotest.Companies())].Name)
			w.token(r, name)
		}
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken, pleotest.AccessToken}}))
		for range 60 {
			for _, name := range names[:3] {
				w.token(r, name)
			}
			time.Sleep(time.Minute)
		}
		_, _ = r.Token(t.Context(), "idle") // its access token is over: nothing contradicts the lie
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{}))
		time.Sleep(2 * time.Minute)
		for _, name := range names {
			w.token(r, name)
		}
		require.Zero(t, deadTokensSent(w))
	})
}

// A wait that Pleo has named holds back everything but a person.
func TestAPersonsRefreshWaitsForNothingThatPleoHasNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(idle)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Header: http.Header{"Retry-After": {"3600"}}})
		_, err := r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
		time.Sleep(20 * time.Second)
		_, err = r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
		require.NoError(t, r.Refresh(t.Context(), "default"))
		w.token(r, "default")
		require.Zero(t, deadTokensSent(w))
	})
}

// A refresh that waits because Pleo has limited another connection's.
func TestAPersonWaitsForTheRefreshThatWaitedAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "limited", "")
		w.authorise(r, "default", "")
		time.Sleep(idle)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Header: http.Header{"Retry-After": {"50"}}})
		_, err := r.Token(t.Context(), "limited")
		require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
		_, err = r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrRefreshFailed)
		require.NoError(t, r.Refresh(t.Context(), "default"))
		require.True(t, w.lives(w.token(r, "default")))
	})
}

// A disconnect while a code is being exchanged: the later act stands, and the user is
// told so.
func TestADisconnectDuringAnExchangeIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		exchange := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, DelayAfter: 2 * time.Second})
		go func() {
			<-exchange.Reached()
			if err := r.Disconnect(context.Background(), "default"); err != nil {
				t.Error(err)
			}
		}()
		_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.ErrorIs(t, err, pleoauth.ErrSuperseded)
		require.Equal(t, pleoauth.StateDisconnected, w.store.record("default").State)
		require.NotContains(t, w.log.String(), "generation=2 duration=2s result=connected")
	})
}

// Pleo does not say whose company it is when a connection is authorised.
func TestAConnectionIsPinnedToItsCompanyAsSoonAsPleoAnswers(t *testing.T) {
	unanswered := func(w *world) (back func()) {
		introspect := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		api := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 503, Times: pleotest.Always})
		return func() { introspect.Remove(); api.Remove() }
	}
	companies := pleotest.Companies()
	t.Run("and another company is refused until then", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := w.replica()
			unanswered(w)
			w.authorise(r, "default", companies[0].Name)
			info, err := r.Connection(t.Context(), "default")
			require.NoError(t, err)
			require.True(t, info.Unpinned)
			_, err = w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, companies[1].Name)
			require.ErrorIs(t, err, pleoauth.ErrSubjectUnknown)
			require.Equal(t, int64(1), w.store.record("default").Generation)
		})
	})
	t.Run("and is compared at the next consent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := w.replica()
			back := unanswered(w)
			w.authorise(r, "default", companies[0].Name)
			back()
			_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, companies[1].Name)
			require.ErrorIs(t, err, pleoauth.ErrOtherSubject)
		})
	})
	t.Run("without another consent", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			r := w.replica()
			back := unanswered(w)
			w.authorise(r, "default", companies[0].Name)
			time.Sleep(10 * time.Second)
			back()
			time.Sleep(2 * time.Minute)
			info, err := r.Connection(t.Context(), "default")
			require.NoError(t, err)
			require.False(t, info.Unpinned)
			require.Equal(t, companies[0].URN(), info.Subject)
			require.NoError(t, r.Refresh(t.Context(), "default"))
			require.Equal(t, companies[0].URN(), w.store.record("default").Subject)
		})
	})
}

// An introspection that answers 429 for good is one that does not answer: it stops
// no refresh.
func TestAnIntrospectionThatIsLimitedForGoodStopsNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithAccessTokenLife(3*time.Minute))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 429, Header: http.Header{"Retry-After": {"5"}}, Times: pleotest.Always})
		for range 20 * 60 {
			w.token(r, "default")
			time.Sleep(time.Second)
		}
		require.Greater(t, w.pleo.Counters().Refreshes, 5)
		require.Zero(t, deadTokensSent(w))
	})
}

// A client with one connection, whose access token is over when the user revokes it.
func TestAReplicaThatHasHeardNothingItselfTakesInactiveForTheEndIfARecordSaysThatItCanBeBelieved(t *testing.T) {
	for _, c := range []struct {
		name  string
		later time.Duration // from the last 'active' to the call
		want  error
	}{
		{"within the hour", 50 * time.Minute, pleoauth.ErrReauthorisationRequired},
		{"after the hour", 70 * time.Minute, pleoauth.ErrRefreshUnsettled},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.replica()
				w.authorise(first, "default", "")
				require.NoError(t, first.Close(t.Context()))
				w.pleo.Revoke(pleotest.Target{})
				time.Sleep(c.later)
				_, err := w.replica().Token(t.Context(), "default")
				require.ErrorIs(t, err, c.want)
				require.Zero(t, w.pleo.Counters().RefreshRequests)
			})
		})
	}
}

func TestARefreshNotesThatIntrospectionCalledItsTokenActive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.replica()
		w.authorise(first, "default", "")
		time.Sleep(50 * time.Minute)
		w.token(first, "default") // which needs a refresh
		require.NoError(t, first.Close(t.Context()))
		w.pleo.Revoke(pleotest.Target{})
		time.Sleep(50 * time.Minute)
		_, err := w.replica().Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
	})
}

// Another write has noted the verdict in between, from memory.
func TestThatIntrospectionWasHeardIsNotedAlsoWhereItsVerdictIsThereAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		r.store.onStep(func(op, when string) error {
			if record := w.store.record("default"); op == "swap" && when == "before" && record.Introspection == pleoauth.VerdictPresumed {
				record.Introspection = pleoauth.VerdictUsable
				w.store.put("default", record)
			}
			return nil
		})
		w.authorise(r, "default", "")
		require.False(t, w.store.record("default").HeardActive.IsZero())
	})
}
