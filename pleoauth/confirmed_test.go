package pleoauth_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A store restarts while a 429 holds all requests.
func TestAStoreThatRestartsInAPauseBringsNoStormOfDials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var dials atomic.Int64
		r := w.replicaDialling(func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) > 500 {
				time.Sleep(time.Second) // else virtual time never goes on
			}
			return w.dial(ctx, network, address)
		})
		w.authorise(r, "a", "")
		w.authorise(r, "default", "")
		time.Sleep(idle)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Header: http.Header{"Retry-After": {"30"}}})
		_, _ = r.Token(t.Context(), "a")
		w.store.failover(0) // restarted, nothing lost
		dials.Store(0)
		_, _ = r.Token(t.Context(), "default")
		time.Sleep(time.Minute)
		require.Less(t, dials.Load(), int64(20))
	})
}

// That introspection calls the token inactive does not show that the grant is dead.
func TestAnotherCompanyDoesNotTakeOverWhereIntrospectionKnowsNoRefreshTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		companies := pleotest.Companies()
		w := newWorld(t)
		r := w.replica()
		introspect := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		api := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 503, Times: pleotest.Always})
		w.authorise(r, "default", companies[0].Name)
		time.Sleep(idle) // Pleo could not be asked for as long as the access token lived
		introspect.Remove()
		api.Remove()
		require.NoError(t, w.pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, companies[1].Name)
		require.ErrorIs(t, err, pleoauth.ErrSubjectUnknown)
		require.NotEqual(t, companies[1].URN(), w.store.record("default").Subject)
	})
}

// It is not ended there, and it is not asked about at every call.
func TestADeadGrantAtAStoreWithoutReplicasIsAskedAboutWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "other", pleotest.Companies()[0].Name)
		w.authorise(r, "default", pleotest.Companies()[1].Name)
		time.Sleep(idle)
		w.store.split([]*memStore{r.store}, 0)
		time.Sleep(2 * time.Minute)
		w.pleo.Revoke(pleotest.Target{Company: pleotest.Companies()[1].Name})
		before := w.pleo.Counters().Introspections
		for began := time.Now(); time.Since(began) < 10*time.Minute; {
			_, err := r.Token(t.Context(), "default")
			require.Error(t, err)
			time.Sleep(100 * time.Millisecond)
		}
		n := w.pleo.Counters().Introspections - before
		require.Less(t, n, 100)
	})
}

// A pair that has to be asked about before it is put back, while a 429 holds all requests.
func TestAPairThatWaitsForPleosPauseIsOnTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "a", "")
		w.authorise(r, "default", "")
		require.NoError(t, r.Refresh(t.Context(), "default"))
		time.Sleep(idle)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Header: http.Header{"Retry-After": {"60"}}})
		_, _ = r.Token(t.Context(), "a")
		old := w.store.record("default")
		old.Generation, old.State, old.Version, old.Sealed = 1, pleoauth.StateReauthorisationRequired, randomID(), nil
		w.store.put("default", old)
		_, _ = r.Token(t.Context(), "default")
		time.Sleep(5 * time.Second)
		files, _ := os.ReadDir(r.spill)
		require.NotZero(t, len(files)+int(r.Health(t.Context()).Unsaved))
	})
}

// A record of the first edition says nothing of introspection.
func TestARecordWithoutAVerdictThatIsWrittenBackCostsNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		copied := w.store.record("default")
		copied.Introspection = "" // as the first edition wrote it
		time.Sleep(12 * time.Minute)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		live := w.token(a, "default")
		w.store.put("default", copied)
		time.Sleep(4 * time.Minute) // the copy's access token is over; a's is not
		require.True(t, w.lives(live))
		b := w.replica()
		_, _ = b.Token(t.Context(), "default")
		require.Zero(t, deadTokensSent(w))
		require.True(t, w.lives(w.token(a, "default")))
	})
}

// What the store may have forgotten is waited out before the flow is spent.
func TestAConsentAfterARestartOfTheStoreIsNotSpentInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replicaDialling(func(ctx context.Context, network, address string) (net.Conn, error) {
			time.Sleep(20 * time.Millisecond)
			return w.dial(ctx, network, address)
		})
		w.authorise(r, "default", "")
		w.store.failover(0)
		_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.NoError(t, err)
	})
}

// The word that counts is the access token's, and it comes last.
func TestASlowIntrospectionThatKnowsNoRefreshTokensStopsNoRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		time.Sleep(time.Minute)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, DelayBefore: 2500 * time.Millisecond, Times: pleotest.Always})
		for range 13 {
			_ = r.Refresh(t.Context(), "default")
			time.Sleep(time.Minute)
		}
		require.NotZero(t, w.pleo.Counters().Refreshes)
	})
}

// The API's own word on the token counts where introspection's does not.
func TestAnApplications401IsPassedOnWhereIntrospectionKnowsNoAccessTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken, pleotest.AccessToken}}))
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(time.Minute)
		require.Equal(t, 1, r.Stats().IntrospectionUnusable)
		token := w.token(r, "default")
		second, err := r.Refused(t.Context(), "default", token) // the application's own 401
		if err == nil {
			_, err = r.Refused(t.Context(), "default", second)
		}
		_, other := r.Token(t.Context(), "default")
		require.NoError(t, other)
		require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
	})
}

// The replica that has sent it may hold the next pair, cut off from the store.
func TestTheWaitForANewerGrantBeginsAgainWhenTheTokenWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}}))
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		time.Sleep(time.Minute)
		w.token(a, "default")
		w.token(b, "default")
		time.Sleep(idle)
		before := w.pleo.Counters().Refreshes                               // by the timer
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 503}) // not processed
		_, _ = a.Token(t.Context(), "default")
		for began := time.Now(); time.Since(began) < 9*time.Minute+50*time.Second; time.Sleep(10 * time.Second) {
			_, _ = a.Token(t.Context(), "default")
			_, _ = b.Token(t.Context(), "default")
		}
		require.Equal(t, before, w.pleo.Counters().Refreshes)
		refresh := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: time.Second})
		go func() {
			<-refresh.Reached()
			a.store.setAway(true) // a has the live pair, and is cut off from the store
		}()
		for refresh.Hits() == 0 {
			_, _ = a.Token(t.Context(), "default")
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Second)
		began := time.Now()
		for time.Since(began) < 5*time.Minute {
			_, _ = b.Token(t.Context(), "default")
			if deadTokensSent(w) > 0 {
				break
			}
			time.Sleep(time.Second)
		}
		require.Zero(t, deadTokensSent(w))
		a.store.setAway(false)
		time.Sleep(10 * time.Second)
		w.token(b, "default")
	})
}

// The way out waits for no more than one question.
func TestAProcessThatEndsStoresAGrantWhoseCompanyIsBeingAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(func(c *pleoauth.Config) { c.RefreshTimeout = 2 * time.Second })
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Hold: pleotest.BeforeProcessing, Times: pleotest.Always})
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Hold: pleotest.BeforeProcessing, Times: pleotest.Always})
		go func() {
			_, _ = w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		}()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 14*time.Second) // 2 × the mark's life
		defer cancel()
		require.NoError(t, r.Close(ctx))
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.pleo.ClearFaults()
	})
}

// Pleo does not say whose an expired token is; of the next one it does.
func TestTheSearchForACompanyEndsWithTheAccessToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 503, Times: pleotest.Always})
		w.authorise(r, "default", "")
		w.pleo.ClearFaults()
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 503, Times: pleotest.Always})
		time.Sleep(idle)
		w.pleo.ClearFaults() // its access token is over, and no call comes
		before := w.pleo.Counters()
		time.Sleep(24 * time.Hour)
		after := w.pleo.Counters()
		require.Less(t, after.Introspections-before.Introspections, 100)
	})
}

// A browser comes again and again with a made-up code, while Pleo does not say whose
// company the connection is.
func TestAConsentThatCannotBeComparedBringsNoRefreshOfALivingTokenAbout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/introspect", Status: 503, Times: pleotest.Always})
		w.authorise(r, "default", "")
		for range 20 {
			begun, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Connection: "default"})
			require.NoError(t, err)
			back, err := w.pleo.Approve(begun.URL, "")
			require.NoError(t, err)
			_, err = w.complete(r, callback(t, back, begun))
			require.ErrorIs(t, err, pleoauth.ErrSubjectUnknown)
			time.Sleep(200 * time.Millisecond)
		}
		require.Zero(t, w.pleo.Counters().RefreshRequests)
	})
}
