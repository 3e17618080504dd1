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

// A token leaves within the time that its mark allows, whatever refresh_timeout
// has become since the mark was made.
func TestALongerRefreshTimeoutDoesNotHoldForAMarkThatWasMadeBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		longer := w.cfg
		longer.RefreshTimeout = 5 * time.Minute
		keys, err := pleoauth.NewKeyring(w.key)
		require.NoError(t, err)
		var written atomic.Bool
		a.store.onStep(func(op, when string) error {
			if op == "swap" && when == "after" {
				if written.Swap(true) {
					return nil
				}
				// The mark is written: a reload, and the process is stopped.
				if err := a.Reconfigure(longer, keys); err != nil {
					t.Error(err)
				}
				time.Sleep(20 * time.Second)
			}
			return nil
		})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		time.Sleep(time.Second)
		w.store.loseLocks() // it has lapsed
		for range 60 {
			_, _ = b.Token(t.Context(), "default")
			go func() { _ = b.Refresh(context.Background(), "default") }()
			time.Sleep(time.Second)
		}
		require.Zero(t, w.pleo.Counters().Replays)
		w.token(b, "default")
	})
}
