package pleoauth_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A pair that is stored, and only not confirmed by the store's replicas, keeps
// nobody from the connection once they confirm again: the next refresh does not
// have to wait for the holder's back-off.
func TestAPairThatIsOnlyUnconfirmedDoesNotKeepTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		w.store.setLagging(true)
		hold.Release()
		require.NoError(t, <-done)
		time.Sleep(10 * time.Minute)
		require.EqualValues(t, 1, a.Health(t.Context()).Unsaved)
		w.store.setLagging(false)
		refreshed := func() bool { return w.pleo.Counters().Refreshes > 1 }
		recovered := time.Now()
		soon, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		for soon.Err() == nil && !refreshed() {
			_ = b.Refresh(soon, "default")
			time.Sleep(100 * time.Millisecond)
		}
		require.True(t, refreshed(), "no refresh is possible %v after replicas confirm again", time.Since(recovered))
	})
}
