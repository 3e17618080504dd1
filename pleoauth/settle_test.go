package pleoauth_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Whoever holds the pair has a second to say so, from a process that is being
// shut down, too: in a rolling restart every process is.
func TestAProcessThatShutsDownGivesHoldersTheirSecondBeforeItDeclaresAGrantLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		heldBy(t, w, a)
		var ended atomic.Bool
		w.store.watchSwaps(func(_ string, _, after pleoauth.Record) {
			if after.State == pleoauth.StateReauthorisationRequired {
				ended.Store(true)
			}
		})
		asked := make(chan struct{})
		b.store.onStep(func(op, when string) error {
			if op == "publish" && when == "before" && w.pleo.Counters().Introspections > 1 {
				a.store.setAway(false) // it takes the holder a moment to hear of it
				select {
				case <-asked:
				default:
					close(asked)
				}
			}
			return nil
		})
		a.store.onStep(func(op, when string) error {
			if when == "before" {
				time.Sleep(100 * time.Millisecond)
			}
			return nil
		})
		go func() {
			for range 60 {
				_ = b.Refresh(context.Background(), "default")
				time.Sleep(time.Second)
			}
		}()
		<-asked
		b.stop()
		time.Sleep(time.Minute)
		require.False(t, ended.Load(), "the record said that the grant was lost, and its holder was there")
	})
}
