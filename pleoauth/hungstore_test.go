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

// A store may hang for longer than it was given: a disk that does not answer
// cannot be interrupted.
func TestAStoreThatHangsHoldsNoCallForLongerThanTheRefreshTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		token := w.token(a, "default")
		var hangs atomic.Bool
		hang := func(op, when string) error {
			for hangs.Load() {
				time.Sleep(time.Second)
			}
			return nil
		}
		a.store.onStep(hang)
		b.store.onStep(hang)
		hangs.Store(true)
		defer hangs.Store(false)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		for name, call := range map[string]func() error{
			"first use":       func() error { _, err := b.Token(ctx, "default"); return err },
			"a refused token": func() error { _, err := a.Refused(ctx, "default", token); return err },
		} {
			began := time.Now()
			err := call()
			require.LessOrEqual(t, time.Since(began), a.Config().RefreshTimeout, "%s: %v", name, err)
			require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable, name)
		}
	})
}
