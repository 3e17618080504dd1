package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// What looks for connections that nobody uses comes by while one is being
// authorised, which no call has used yet.
func TestAPairOfAnAuthorisationThatTookLongIsServedWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		exchange := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
		go func() {
			<-exchange.Reached()
			time.Sleep(90 * time.Second)
			a.store.setAway(true)
			exchange.Release()
		}()
		completed, err := w.tryAuthorise(a, pleoauth.AuthorisationRequest{Connection: "default"}, "")
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		require.NotZero(t, completed.RetryAfter, "the user is not kept for longer than the mark stands")
		time.Sleep(80 * time.Second)
		w.token(a, "default")
	})
}
