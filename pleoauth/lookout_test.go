package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// The store answers again, but the one record that is looked at is another
// client's by now: the store is not away.
func TestAStoreThatAnswersIsNotLookedForAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.token(a, "default")
		foreign := w.store.record("default")
		foreign.ClientID = "another"
		w.store.put("default", foreign)
		reads := countReads(a)
		a.store.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
		time.Sleep(10 * time.Minute) // nobody calls
		require.Less(t, reads.Load(), int64(100), "reads of the store in ten minutes without a call")
	})
}
