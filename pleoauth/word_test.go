package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// The store takes three seconds for the mark, and the customer revokes the
// authorisation meanwhile: what Pleo said before that is not relied on.
func TestATokenDoesNotLeaveOnAWordOfPleoThatIsTwoSecondsOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		slow := true
		r.store.onStep(func(op, when string) error {
			if op == "swap" && when == "before" && slow {
				slow = false
				time.Sleep(3 * time.Second)
				w.pleo.Revoke(pleotest.Target{})
			}
			return nil
		})
		require.Error(t, r.Refresh(t.Context(), "default"))
		time.Sleep(idle)
		require.Zero(t, w.pleo.Counters().RefreshRequests)
		require.Zero(t, w.pleo.Counters().DeadRefreshes)
	})
}
