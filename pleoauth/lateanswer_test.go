package pleoauth_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A reload with another password for the store opens another source on the same
// disk, while the one before it still waits for Pleo's answer and can then store
// it nowhere but there.
func TestAPairThatASourceSpillsAfterItsSuccessorHasStartedIsTakenUp(t *testing.T) {
	for name, late := range map[string]time.Duration{
		"before it is missed": time.Second,
		"after it was missed": 2 * time.Minute,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				before := w.replica()
				w.authorise(before, "default", "")
				answer := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
				go func() { _ = before.Refresh(context.Background(), "default") }()
				<-answer.Reached()
				after := w.replicaOn(before.spill)
				_, err := after.Token(t.Context(), "default")
				require.NoError(t, err)

				before.store.setAway(true)
				closed := make(chan error)
				go func() {
					ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
					defer cancel()
					closed <- before.Close(ctx)
				}()
				time.Sleep(late)
				answer.Release()
				require.Error(t, <-closed, "the store has not taken the pair")
				synctest.Wait()
				files, err := filepath.Glob(filepath.Join(before.spill, "*.pair"))
				require.NoError(t, err)
				require.Len(t, files, 1)

				time.Sleep(idle)
				_, _ = after.Token(t.Context(), "default")
				time.Sleep(2 * time.Minute)
				require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
				w.token(after, "default")
				require.Zero(t, w.pleo.Counters().Replays)
			})
		})
	}
}

// The folder is read again and again: what is not to be read there is told once.
func TestAHeldPairThatCannotBeReadIsComplainedOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "other.pair"), []byte("sealed by somebody else"), 0o600))
		w.replicaOn(dir)
		time.Sleep(10 * time.Minute)
		require.Equal(t, 1, strings.Count(w.log.String(), "a held grant on disk cannot be read"))
		require.FileExists(t, filepath.Join(dir, "other.pair"))
	})
}
