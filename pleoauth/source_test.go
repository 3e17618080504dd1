package pleoauth_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestANameThatWasNeverAuthorisedIsNotConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		_, err := r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
	})
}

func TestAnAuthorisedConnectionHasATokenInEveryReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		_, err := b.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrNotConnected)
		w.authorise(a, "default", "")
		synctest.Wait()
		require.Equal(t, w.token(a, "default").Version(), w.token(b, "default").Version())
	})
}

func TestCallersReleasedAtOnceOnAnExpiredTokenShareOneRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		replicas := []*replica{w.replica(), w.replica(), w.replica()}
		w.authorise(replicas[0], "default", "")
		for _, r := range replicas {
			w.token(r, "default")
		}
		time.Sleep(idle)
		before := w.pleo.Counters()
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayBefore: 500 * time.Millisecond})
		var calls sync.WaitGroup
		errs := make(chan error, 200)
		for i := range 200 {
			calls.Go(func() {
				_, err := replicas[i%3].Token(t.Context(), "default")
				errs <- err
			})
		}
		calls.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
		after := w.pleo.Counters()
		require.Equal(t, 1, after.RefreshRequests-before.RefreshRequests)
		require.Zero(t, after.Replays)
	})
}

func TestATokenInUseIsRefreshedBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		first := w.token(r, "default")
		for range 60 {
			time.Sleep(time.Minute)
			began := time.Now()
			w.token(r, "default")
			require.Zero(t, time.Since(began), "no call waits")
		}
		require.NotEqual(t, first.Version(), w.token(r, "default").Version())
		require.Equal(t, 4, w.pleo.Counters().Refreshes)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestACallerThatGoesAwayChangesNothingForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(idle)
		before := w.pleo.Counters().RefreshRequests
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayBefore: 500 * time.Millisecond})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err := r.Token(ctx, "default")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		w.token(r, "default")
		require.Equal(t, 1, w.pleo.Counters().RefreshRequests-before)
	})
}

func TestARevokedGrantIsAskedAboutAndThenAnsweredFromMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		token := w.token(a, "default")
		w.token(b, "default")
		w.pleo.Revoke(pleotest.Target{})
		_, err := a.Refused(t.Context(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
		var detail *pleoauth.TokenError
		require.ErrorAs(t, err, &detail)
		require.Equal(t, pleoauth.ReasonRevokedOrExpired, detail.Reason)
		synctest.Wait()
		before := w.pleo.Counters()
		require.Zero(t, before.TokenRequests-before.ExchangeRequests, "a dead refresh token is not sent: it could cost another name its grant")
		for range 1000 {
			_, err := a.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
			_, err = b.Token(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
		}
		time.Sleep(time.Hour)
		require.Equal(t, before, w.pleo.Counters())
		w.authorise(b, "default", "")
		w.token(a, "default")
	})
}

func TestAnAmbiguousRefreshThatWasNotProcessedIsDoneAgainOnceTheMarkIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(idle)
		before := w.pleo.Counters().RefreshRequests
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing})
		began := time.Now()
		_, err := r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled)
		require.Equal(t, 10*time.Second, time.Since(began))
		time.Sleep(6 * time.Second)
		w.token(r, "default")
		require.Equal(t, 2, w.pleo.Counters().RefreshRequests-before)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestAnAmbiguousRefreshThatWasProcessedEndsInLostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		time.Sleep(idle)
		before := w.pleo.Counters().RefreshRequests
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.AfterProcessing})
		_, err := r.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrRefreshUnsettled, "Pleo is asked three times before a grant is given up")
		time.Sleep(5 * time.Second)
		_, err = r.Token(t.Context(), "default")
		var detail *pleoauth.TokenError
		require.ErrorAs(t, err, &detail)
		require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired)
		require.Equal(t, pleoauth.ReasonLostResponse, detail.Reason)
		require.Equal(t, 1, w.pleo.Counters().RefreshRequests-before)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestAPairThatCannotBeStoredIsHeldServedAndSavedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		time.Sleep(idle)
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
		done := make(chan error, 1)
		go func() { _, err := a.Token(context.Background(), "default"); done <- err }()
		<-hold.Reached()
		a.store.setAway(true)
		hold.Release()
		require.NoError(t, <-done)
		held := w.token(a, "default")
		require.Equal(t, int64(1), a.Health(t.Context()).Unsaved)
		time.Sleep(5 * time.Second)
		a.store.setAway(false)
		time.Sleep(3 * time.Second)
		require.Zero(t, a.Health(t.Context()).Unsaved)
		require.Equal(t, held.Version(), w.token(b, "default").Version())
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestAnEmptiedStoreLosesNoGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		w.store.failover(-1)
		for range 120 {
			time.Sleep(30 * time.Second)
			w.token(a, "default")
			w.token(b, "default")
		}
		require.Zero(t, w.pleo.Counters().Replays)
		require.LessOrEqual(t, w.pleo.Counters().Refreshes, 5)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
	})
}

// idle is so long that a token that was used, was refreshed in the background,
// and was not used again has expired.
const idle = 40 * time.Minute

func TestASourceGoesOnWithAnotherConfigurationAndOtherKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		second := pleoauth.GenerateKey()
		keys, err := pleoauth.NewKeyring(second, w.key)
		require.NoError(t, err)
		cfg := w.cfg
		cfg.RefreshBefore = 2 * time.Minute
		require.NoError(t, r.Reconfigure(cfg, keys))
		require.Same(t, token, w.token(r, "default"), "what is in memory stays")
		require.NoError(t, r.Refresh(t.Context(), "default"))
		w.key = second
		w.token(w.replica(), "default")

		other := w.cfg
		other.ClientID = "another-client"
		require.ErrorIs(t, r.Reconfigure(other, keys), pleoauth.ErrConfig)
	})
}
