package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// While refreshes fail and the token is still good, calls are answered from
// memory as ever: no allocation.
func TestACallAllocatesNothingWhileRefreshesFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.token(a, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: 429, Times: pleotest.Always})
		time.Sleep(14*time.Minute + 30*time.Second)
		w.token(a, "default") // begins a refresh that is refused
		time.Sleep(time.Second)
		require.Zero(t, testing.AllocsPerRun(100, func() { _, _ = a.Token(t.Context(), "default") }))
	})
}
