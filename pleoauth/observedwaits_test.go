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

func TestAnObserverIsToldHowLongCallsAndReplicasWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		seen := observe(b)
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 6 * time.Second})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		synctest.Wait()
		_, err := b.Token(t.Context(), "default") // waits at the gate, until that is over
		require.NoError(t, err)
		_ = b.Refresh(t.Context(), "default")
		require.Equal(t, map[string]int{"gate": 1, "lock": 1}, seen.of("gate", "lock"))
		require.Equal(t, 2*time.Second, seen.longest("gate"))
		require.Greater(t, seen.longest("lock"), 3*time.Second)
	})
}

func TestALongWaitForALockIsAWarning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 8 * time.Second})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		_ = b.Refresh(t.Context(), "default")
		require.Regexp(t, `level=WARN msg="the connection's lock was long in coming" connection=default duration=\S+ generation=2 result=(not_needed|obtained)`, w.log.String())
	})
}

func TestAnObserverIsToldWhatTheStoreFailsToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		token := w.token(a, "default")
		seen := observe(a)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		require.Empty(t, seen.of("store"))
		a.store.setAway(true)
		require.Equal(t, pleoauth.HealthDegraded, a.Health(t.Context()).Status)
		require.Error(t, a.Refresh(t.Context(), "default"))
		_, _ = a.Refused(t.Context(), "default", token)
		_, err := a.Token(t.Context(), "other")
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
		got := seen.of("store")
		require.Equal(t, 1, got["store ping"])
		require.Equal(t, 1, got["store lock"])
		require.Equal(t, 1, got["store watch"])
	})
}
