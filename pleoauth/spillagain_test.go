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

// A disk that takes nothing when a pair has to be held, full or not mounted yet,
// may take it a moment later.
func TestAHeldPairIsWrittenToDiskOnceTheDiskTakesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dir := filepath.Join(t.TempDir(), "held")
		require.NoError(t, os.WriteFile(dir, nil, 0o600)) // where no folder can be made
		a := w.replicaWith(w.cfg, dir)
		w.authorise(a, "default", "")
		heldBy(t, w, a)
		require.NoError(t, os.Remove(dir))
		time.Sleep(5 * time.Minute)
		a.stop() // in order, but the store is still away

		b := w.replicaOn(dir)
		time.Sleep(10 * time.Second)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		w.token(b, "default")
	})
}
