package pleoauth_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Refreshes whose answers are of no use are failed attempts like others: people
// see how many there were.
func TestAttemptsThatHadToBeSettledAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		time.Sleep(idle)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 500, Times: pleotest.Always})
		for range 120 {
			go func() { _, _ = a.Token(context.Background(), "default") }()
			time.Sleep(time.Second)
		}
		info, err := a.Connection(t.Context(), "default")
		require.NoError(t, err)
		require.Positive(t, info.Attempts, "after %d refreshes", w.pleo.Counters().RefreshRequests)
	})
}
