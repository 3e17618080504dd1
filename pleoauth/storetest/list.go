package storetest

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// listAll returns all names, page by page.
func listAll(t *testing.T, store pleoauth.Store, limit int) []string {
	t.Helper()
	var all []string
	for cursor, pages := "", 0; ; pages++ {
		require.Less(t, pages, 10_000)
		names, next, err := store.List(t.Context(), cursor, limit)
		require.NoError(t, err)
		require.LessOrEqual(t, len(names), limit)
		all = append(all, names...)
		if cursor = next; cursor == "" {
			return all
		}
		require.Len(t, names, limit, "a page that is not the last is full")
	}
}

var listTests = map[string]func(suite, *testing.T){
	"nothing is an empty page": func(s suite, t *testing.T) {
		require.Empty(t, listAll(t, s.store(t, identity()), 10))
	},
	"a thousand names are all listed, in one order": func(s suite, t *testing.T) {
		id := identity()
		store, other := s.store(t, id), s.store(t, id)
		const n = 1000
		want := make([]string, n)
		for i := range n {
			want[i] = fmt.Sprintf("acme-%d", i)
		}
		for _, err := range together(t.Context(), 8, func(ctx context.Context, worker int) error {
			for i := worker; i < n; i += 8 {
				old, err := store.Read(ctx, want[i])
				if err != nil {
					return err
				}
				if _, err := store.Swap(ctx, want[i], old, pleoauth.Record{State: pleoauth.StateConnected}, pleoauth.SwapOptions{}); err != nil {
					return err
				}
			}
			return nil
		}) {
			require.NoError(t, err)
		}
		all := listAll(t, store, 2*n)
		require.ElementsMatch(t, want, all)
		for _, limit := range []int{250, 333, n} {
			require.Equal(t, all, listAll(t, other, limit))
		}
	},
	"pages of one": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		for _, name := range oddNames() {
			put(t, store, name, record("v"))
		}
		require.ElementsMatch(t, oddNames(), listAll(t, store, 1))
	},
	"a name that comes or goes moves no other": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		for i := range 20 {
			put(t, store, fmt.Sprintf("acme-%d", i), record("v"))
		}
		all := listAll(t, store, 100)
		first, cursor, err := store.List(t.Context(), "", 10)
		require.NoError(t, err)
		require.Equal(t, all[:10], first)
		// The cursor's own name, one behind it and one before it.
		put(t, store, first[9], pleoauth.Record{})
		put(t, store, first[0], pleoauth.Record{})
		put(t, store, all[15], pleoauth.Record{})
		rest, cursor, err := store.List(t.Context(), cursor, 100)
		require.NoError(t, err)
		require.Empty(t, cursor)
		require.Equal(t, append(append([]string{}, all[10:15]...), all[16:]...), rest)
	},
	"what has a state is listed, a mark alone is not": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		put(t, store, "disconnected", pleoauth.Record{State: pleoauth.StateDisconnected})
		put(t, store, "connected", pleoauth.Record{State: pleoauth.StateConnected})
		put(t, store, "starting", pleoauth.Record{Mark: &pleoauth.Mark{Nonce: "n", Kind: pleoauth.MarkAuthorise}})
		put(t, store, "gone", record("v"))
		put(t, store, "gone", pleoauth.Record{})
		require.ElementsMatch(t, []string{"connected", "disconnected"}, listAll(t, store, 10))
	},
	"a cursor that it never gave is an error": func(s suite, t *testing.T) {
		_, _, err := s.store(t, identity()).List(t.Context(), "\x00nonsense", 10)
		require.ErrorIs(t, err, pleoauth.ErrInvalidCursor)
	},
	"a limit below one is an error": func(s suite, t *testing.T) {
		_, _, err := s.store(t, identity()).List(t.Context(), "", 0)
		require.Error(t, err)
	},
}
