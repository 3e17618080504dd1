package pleoauth_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// The only process that has a grant ends, and the store has lost the record, or has an
// older one again.
func TestAProcessThatEndsLeavesTheGrantThatTheStoreHasLost(t *testing.T) {
	for name, spoil := range map[string]func(w *world, copied pleoauth.Record){
		"deleted":      func(w *world, _ pleoauth.Record) { w.store.restore("default", memRecord{}) },
		"written back": func(w *world, copied pleoauth.Record) { w.store.put("default", copied) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				first := w.replica()
				w.authorise(first, "default", "")
				copied := w.store.record("default")
				require.NoError(t, first.Refresh(t.Context(), "default"))
				spoil(w, copied)
				require.NoError(t, first.Close(t.Context()))
				require.True(t, w.lives(w.token(w.replica(), "default")))
				require.Zero(t, deadTokensSent(w))
			})
		})
	}
}

// It is on the disk before the store is tried.
func TestAProcessThatEndsLeavesTheLostGrantOnDiskWhereTheStoreTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first := w.replica()
		w.authorise(first, "default", "")
		w.store.restore("default", memRecord{})
		first.store.onStep(func(op, when string) error {
			if op == "swap" {
				return errReadOnly
			}
			return nil
		})
		require.NoError(t, first.Close(t.Context()))
		require.True(t, w.lives(w.token(w.replicaOn(first.spill), "default")))
		time.Sleep(time.Second)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
	})
}

func TestAProcessThatEndsBringsNoDisconnectedGrantBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		first, second := w.replica(), w.replica()
		w.authorise(first, "default", "")
		first.store.setDeaf(true)
		require.NoError(t, second.Disconnect(t.Context(), "default"))
		require.NoError(t, first.Close(t.Context()))
		require.Equal(t, pleoauth.StateDisconnected, w.store.record("default").State)
	})
}
