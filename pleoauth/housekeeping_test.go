package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

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
		w.authorise(a, "default", "")
		w.token(a, "default")
	})
}
