package storetest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

var dueTests = map[string]func(suite, *testing.T){
	"names whose time has come are due, others are not": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		for name, due := range map[string]time.Duration{"past": -time.Minute, "long-past": -24 * time.Hour, "future": time.Hour, "never": 0} {
			old, err := store.Read(t.Context(), name)
			require.NoError(t, err)
			next := pleoauth.Record{State: pleoauth.StateConnected}
			if due != 0 {
				next.Due = old.Now.Add(due)
			}
			_, err = store.Swap(t.Context(), name, old, next, pleoauth.SwapOptions{})
			require.NoError(t, err)
		}
		names, err := store.Due(t.Context(), 10)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"past", "long-past"}, names)
		names, err = store.Due(t.Context(), 1)
		require.NoError(t, err)
		require.Len(t, names, 1)

		snap, err := store.Read(t.Context(), "past")
		require.NoError(t, err)
		next := snap.Record
		next.Due = snap.Now.Add(time.Hour)
		_, err = store.Swap(t.Context(), "past", snap, next, pleoauth.SwapOptions{})
		require.NoError(t, err)
		names, err = store.Due(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, []string{"long-past"}, names)
	},
}
