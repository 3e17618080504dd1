package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// While Pleo does not say whether a refused token lives, it is asked with a
// growing delay, however many calls are refused.
func TestARefusedTokenThatCannotBeAskedAboutIsAskedAboutWithAGrowingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		before := w.pleo.Counters()
		for range 1200 {
			_, _ = r.Refused(t.Context(), "default", token)
			time.Sleep(100 * time.Millisecond)
		}
		require.Less(t, w.pleo.Counters().Introspections-before.Introspections, 12, "introspections in two minutes")
	})
}

func TestATokenThatIsKnownToBeDeadIsNotHandedOutAfterItsRecordIsReadAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		token := w.token(r, "default")
		w.pleo.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
		require.NoError(t, r.JudgeLate(t.Context(), "default")())
		r.GiveUp("default")
		next, err := r.Refused(t.Context(), "default", token)
		require.NoError(t, err)
		require.True(t, w.lives(next))
	})
}
