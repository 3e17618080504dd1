package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestCallsInAllReplicasWaitWhileTheirTokenIsBeingRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, unconcerned := w.replica(), w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.authorise(a, "other", "")
		old := w.token(a, "default")
		w.token(b, "default")
		w.token(unconcerned, "other")
		refresh := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 500 * time.Millisecond})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(t.Context(), "default") }()
		<-refresh.Reached()
		synctest.Wait()
		for _, r := range []*replica{a, b} {
			began := time.Now()
			token := w.token(r, "default")
			require.NotEqual(t, old.Version(), token.Version())
			require.LessOrEqual(t, time.Since(began), 500*time.Millisecond)
		}
		require.NoError(t, <-done)
		began := time.Now()
		w.token(unconcerned, "other")
		require.Zero(t, time.Since(began))
	})
}

func TestTheGateIsBoundedAndRaisedOncePerVersion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		old := w.token(a, "default")
		w.token(b, "default")
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.BeforeProcessing})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(t.Context(), "default") }()
		<-hold.Reached()
		synctest.Wait()
		began := time.Now()
		require.Equal(t, old.Version(), w.token(b, "default").Version())
		require.Equal(t, 2*time.Second, time.Since(began))
		began = time.Now()
		require.Equal(t, old.Version(), w.token(b, "default").Version())
		require.Zero(t, time.Since(began), "no call waits a second time")
		hold.Release()
		require.NoError(t, <-done)
		synctest.Wait()
		require.NotEqual(t, old.Version(), w.token(b, "default").Version())
	})
}

func TestARefreshThatFailsOpensTheGateAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(a, "default")
		w.token(b, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 503, DelayAfter: 100 * time.Millisecond})
		go func() { _ = a.Refresh(t.Context(), "default") }()
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		for _, r := range []*replica{a, b} {
			began := time.Now()
			w.token(r, "default")
			require.LessOrEqual(t, time.Since(began), 100*time.Millisecond)
		}
	})
}
