package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

var flowTests = map[string]func(suite, *testing.T){
	"a flow that was never put is none": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		_, err := store.Flow(t.Context(), "id")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
		_, err = store.TakeFlow(t.Context(), "id")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
	},
	"a flow's data survives and stays when looked at": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		data := record("").Sealed
		require.NoError(t, a.PutFlow(t.Context(), "id", data, time.Minute))
		for _, store := range []pleoauth.Store{a, b, a} {
			got, err := store.Flow(t.Context(), "id")
			require.NoError(t, err)
			require.Equal(t, data, got)
		}
	},
	"a flow is taken once": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		require.NoError(t, store.PutFlow(t.Context(), "id", []byte("data"), time.Minute))
		got, err := store.TakeFlow(t.Context(), "id")
		require.NoError(t, err)
		require.Equal(t, "data", string(got))
		_, err = store.TakeFlow(t.Context(), "id")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
		_, err = store.Flow(t.Context(), "id")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
	},
	"of many takers one gets the flow": func(s suite, t *testing.T) {
		id := identity()
		stores := []pleoauth.Store{s.store(t, id), s.store(t, id)}
		for range 5 {
			require.NoError(t, stores[0].PutFlow(t.Context(), "id", []byte("data"), time.Minute))
			wins := 0
			for _, err := range together(t.Context(), 20, func(ctx context.Context, i int) error {
				_, err := stores[i%2].TakeFlow(ctx, "id")
				return err
			}) {
				if err == nil {
					wins++
				} else {
					require.ErrorIs(t, err, pleoauth.ErrNoFlow)
				}
			}
			require.Equal(t, 1, wins)
		}
	},
	"a flow expires": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		require.NoError(t, store.PutFlow(t.Context(), "looked at", []byte("data"), short))
		require.NoError(t, store.PutFlow(t.Context(), "taken", []byte("data"), short))
		require.NoError(t, store.PutFlow(t.Context(), "lasting", []byte("data"), time.Minute))
		require.Eventually(t, func() bool {
			_, err := store.Flow(t.Context(), "looked at")
			return err != nil
		}, patience, 5*time.Millisecond)
		_, err := store.Flow(t.Context(), "looked at")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
		require.Eventually(t, func() bool {
			_, err := store.Flow(t.Context(), "taken")
			return err != nil
		}, patience, 5*time.Millisecond)
		_, err = store.TakeFlow(t.Context(), "taken")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
		_, err = store.TakeFlow(t.Context(), "lasting")
		require.NoError(t, err)
	},
	"a flow that is put back lives anew, and is taken once again": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		for _, data := range []string{"first", "second"} {
			require.NoError(t, store.PutFlow(t.Context(), "ticket-id", []byte(data), time.Minute))
			require.NoError(t, store.PutFlow(t.Context(), "ticket-id-start", []byte("other"), time.Minute))
			got, err := store.TakeFlow(t.Context(), "ticket-id")
			require.NoError(t, err)
			require.Equal(t, data, string(got))
			_, err = store.Flow(t.Context(), "ticket-id")
			require.ErrorIs(t, err, pleoauth.ErrNoFlow)
			got, err = store.Flow(t.Context(), "ticket-id-start")
			require.NoError(t, err)
			require.Equal(t, "other", string(got))
		}
	},
	"flows are not connections": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		require.NoError(t, store.PutFlow(t.Context(), "id", []byte("data"), time.Minute))
		names, next, err := store.List(t.Context(), "", 10)
		require.NoError(t, err)
		require.Empty(t, names)
		require.Empty(t, next)
	},
	"other identities have other flows": func(s suite, t *testing.T) {
		store, stranger := s.store(t, identity()), s.store(t, identity())
		require.NoError(t, store.PutFlow(t.Context(), "id", []byte("data"), time.Minute))
		_, err := stranger.TakeFlow(t.Context(), "id")
		require.ErrorIs(t, err, pleoauth.ErrNoFlow)
	},
}
