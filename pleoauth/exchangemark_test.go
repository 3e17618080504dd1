package pleoauth_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// An exchange takes the place of a mark that is over but not settled: whether
// the token under it was spent is not known, and stays so if the code is no
// good.
func TestAnExchangeThatFailsLeavesTheDoubtThatItFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		held := heldBy(t, w, a) // spent by a replica that is cut off and has the pair

		begun := begin(t, b, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		cb.Code = "no such code"
		_, err = w.complete(b, cb)
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)

		time.Sleep(idle)
		for range 10 {
			_, _ = b.Token(t.Context(), "default")
			time.Sleep(2 * time.Second)
		}
		require.Zero(t, w.pleo.Counters().Replays)
		a.store.setAway(false)
		time.Sleep(5 * time.Second)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		require.GreaterOrEqual(t, w.store.record("default").Generation, int64(2))
		require.NotEmpty(t, held.Version())
	})
}

// What the store may have forgotten in a restart is no less forgotten because
// a user came back with a bad code meanwhile.
func TestAnExchangeThatFailsDoesNotSettleWhatTheStoreMayHaveForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		refresh := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
		go func() { _ = a.Refresh(t.Context(), "default") }()
		<-refresh.Reached()
		w.store.failover(1) // the mark is forgotten
		a.store.setAway(true)

		begun := begin(t, b, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		cb := callback(t, back, begun)
		cb.Code = "no such code"
		_, err = w.complete(b, cb)
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		time.Sleep(idle)
		_, _ = b.Token(t.Context(), "default")
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

// A refresh is answered only after a consent has ended its authorisation's
// tokens, while the new grant's holder cannot reach the store. To spend what
// the late answer brought would end the new grant.
func TestAnAnswerThatComesAfterAConsentDoesNotCostTheNewGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithSecondConsentReplacing())
		a, b, c := w.replica(), w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(c, "default")

		late := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		<-late.Reached()
		unsettled := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Kind: pleotest.RefreshToken, Status: 503})
		begun := begin(t, b, pleoauth.AuthorisationRequest{Connection: "default"})
		back, err := w.pleo.Approve(begun.URL, "")
		require.NoError(t, err)
		exchange := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.AfterProcessing})
		done := make(chan error, 1)
		go func() {
			_, err := w.complete(b, callback(t, back, begun))
			done <- err
		}()
		<-exchange.Reached()
		unsettled.Remove()
		b.store.setAway(true)
		exchange.Release()
		require.NoError(t, <-done)
		late.Release()
		time.Sleep(time.Second)
		require.Equal(t, int64(2), w.store.record("default").Generation, "the late answer is stored")

		for range 20 { // what calls do with a token that Pleo refuses
			if token, err := c.Token(t.Context(), "default"); err == nil && !w.lives(token) {
				_, _ = c.Refused(t.Context(), "default", token)
			}
			time.Sleep(time.Second)
		}
		b.store.setAway(false)
		time.Sleep(idle)
		require.Zero(t, w.pleo.Counters().Replays)
		require.True(t, w.lives(w.token(c, "default")))
	})
}

// onItsWay has a refresh answered long before it reaches Pleo.
var onItsWay = pleotest.Fault{
	Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken,
	Status: 500, Process: pleotest.ProcessedLater, ProcessAfter: 4 * time.Second,
}

// A refresh is answered while an exchange is on its way, and its pair is stored. The
// exchange's mark stays: the next exchange waits for the one before it although the
// lock is lost.
func TestAPairThatIsStoredDuringAnExchangeLeavesItsMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c := w.replica(), w.replica(), w.replica()
		w.authorise(a, "default", "")
		late := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		<-late.Reached()
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Kind: pleotest.RefreshToken, Status: 503})
		exchange := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.BeforeProcessing, Times: 1})
		done := make(chan error, 2)
		authorise := func(r *replica) {
			begun := begin(t, r, pleoauth.AuthorisationRequest{Connection: "default"})
			back, err := w.pleo.Approve(begun.URL, "")
			require.NoError(t, err)
			go func() {
				_, err := w.complete(r, callback(t, back, begun))
				done <- err
			}()
		}
		authorise(b)
		<-exchange.Reached()
		late.Release()
		time.Sleep(time.Second)
		require.Equal(t, int64(2), w.store.record("default").Generation, "the late answer is stored")

		w.store.loseLocks() // a lock is the store's alone, and a failover forgets it
		authorise(c)
		time.Sleep(time.Second)
		require.Equal(t, 2, w.pleo.Counters().ExchangeRequests, "the second consent waits for the first")
		exchange.Release()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		require.True(t, w.lives(w.token(a, "default")))
	})
}

// A disconnect does not stop a refresh that is on its way. Where Pleo takes the
// next consent for the same authorisation, that refresh would end it.
func TestAConsentAfterADisconnectWaitsForTheRefreshThatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithSecondConsentReplacing())
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.pleo.Fault(onItsWay)
		go func() { _ = a.Refresh(context.Background(), "default") }()
		time.Sleep(time.Second)
		require.NoError(t, b.Disconnect(t.Context(), "default"))
		w.authorise(b, "default", "")
		time.Sleep(idle)
		require.Zero(t, w.pleo.Counters().Replays)
		require.True(t, w.lives(w.token(a, "default")))
	})
}

// Nor does the end of a grant stop it: Pleo says at once that a token is dead
// which the customer has revoked, and the refresh is still on its way.
func TestAConsentAfterARevocationWaitsForTheRefreshThatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, pleotest.WithSecondConsentReplacing())
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		later := onItsWay
		later.ProcessAfter = 20 * time.Second
		left := w.pleo.Fault(later)
		go func() {
			<-left.Reached()
			w.pleo.Revoke(pleotest.Target{})
		}()
		require.Error(t, a.Refresh(t.Context(), "default"))
		for { // Pleo is asked three times
			if _, err := a.Token(t.Context(), "default"); err != nil {
				require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		require.Zero(t, w.pleo.Counters().DeadRefreshes, "the refresh is still on its way")
		w.authorise(b, "default", "")
		require.Equal(t, 1, w.pleo.Counters().DeadRefreshes, "the refresh has arrived before the consent")
		time.Sleep(idle)
		require.True(t, w.lives(w.token(a, "default")))
	})
}
