package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// The token lives, a refresh that was lost is settled and done again, and a call
// that is in flight at that moment is refused: it must get the new token, which
// is half a second away, and not be told that it has waited for too long.
func TestACallRefusedByARefreshThatWasSettledFirstGetsTheNewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		old := w.token(a, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing})
		again := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 500 * time.Millisecond})
		go func() { _ = a.Refresh(t.Context(), "default") }()
		<-again.Reached()
		synctest.Wait()
		token, err := a.Refused(t.Context(), "default", old)
		require.NoError(t, err)
		require.NotEqual(t, old.Version(), token.Version())
	})
}

// The same where another replica refreshes, whose lock this one waits for.
func TestACallRefusedByAnotherReplicasSettledRefreshGetsTheNewToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		old := w.token(b, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing})
		again := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayAfter: 500 * time.Millisecond})
		go func() { _ = a.Refresh(t.Context(), "default") }()
		time.Sleep(time.Second) // it has the lock
		go func() { _ = b.Refresh(t.Context(), "default") }()
		<-again.Reached()
		synctest.Wait()
		token, err := b.Refused(t.Context(), "default", old)
		require.NoError(t, err)
		require.NotEqual(t, old.Version(), token.Version())
	})
}
