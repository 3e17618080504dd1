package pleoauth_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Of two pairs of one connection on the disk, the one that is superseded does
// not stay there.
func TestOfTwoSpilledPairsNeitherStaysOnTheDisk(t *testing.T) {
	for range 16 { // their order on the disk is by chance
		t.Run("pairs", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				a := w.replica()
				w.authorise(a, "default", "")
				heldBy(t, w, a)
				b := w.replica()
				b.store.onStep(func(op, when string) error {
					if op == "swap" && when == "before" && w.pleo.Counters().Exchanges == 2 {
						return errAway
					}
					return nil
				})
				w.authorise(b, "default", "")
				dir := t.TempDir()
				for _, r := range []*replica{a, b} {
					files, err := filepath.Glob(filepath.Join(r.spill, "*.pair"))
					require.NoError(t, err)
					require.Len(t, files, 1)
					content, err := os.ReadFile(files[0])
					require.NoError(t, err)
					require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), content, 0o600))
				}
				c := w.replicaWith(w.cfg, dir)
				w.store.mu.Lock() // the store is slow to answer the first
				c.Start()
				w.store.mu.Unlock()
				time.Sleep(time.Minute)
				require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
				_, err := c.Token(t.Context(), "default")
				require.NoError(t, err)
				left, err := filepath.Glob(filepath.Join(dir, "*.pair"))
				require.NoError(t, err)
				require.Empty(t, left)
			})
		})
	}
}
