package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// changed is the notice of a new version.
func changed(name, version string) pleoauth.Notice {
	return pleoauth.Notice{Kind: pleoauth.NoticeChanged, Connection: name, Version: version}
}

var noticeTests = map[string]func(suite, *testing.T){
	"a swap publishes its notice": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		_, err := store.Swap(t.Context(), "acme", read(t, store, "acme"), record("v1"), pleoauth.SwapOptions{Notice: changed("acme", "v1")})
		require.NoError(t, err)
		in.expect(t, changed("acme", "v1"))
	},
	"a swap that fails publishes nothing": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		old := put(t, store, "acme", record("v1"))
		put(t, store, "acme", record("v2"))
		require.NoError(t, store.Watch(t.Context(), "acme"))
		_, err := store.Swap(t.Context(), "acme", old, record("v3"), pleoauth.SwapOptions{Notice: changed("acme", "v3")})
		require.ErrorIs(t, err, pleoauth.ErrConflict)
		require.NoError(t, store.Publish(t.Context(), changed("acme", "end")))
		in.expect(t, changed("acme", "end"))
	},
	"a swap without a notice publishes nothing": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		put(t, store, "acme", record("v1"))
		require.NoError(t, store.Publish(t.Context(), changed("acme", "end")))
		in.expect(t, changed("acme", "end"))
	},
	"removal publishes too": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		old := put(t, store, "acme", record("v1"))
		require.NoError(t, store.Watch(t.Context(), "acme"))
		_, err := store.Swap(t.Context(), "acme", old, pleoauth.Record{}, pleoauth.SwapOptions{Notice: changed("acme", "")})
		require.NoError(t, err)
		in.expect(t, changed("acme", ""))
	},
	"a published notice arrives whole": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		gate := pleoauth.Notice{Kind: pleoauth.NoticeGate, Connection: "acme", Version: "v", Nonce: "n", Life: 15 * time.Second}
		require.NoError(t, store.Publish(t.Context(), gate))
		in.expect(t, gate)
	},
	"notices keep their order": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		var want []pleoauth.Notice
		for i := range 100 {
			want = append(want, changed("acme", fmt.Sprint(i)))
			require.NoError(t, store.Publish(t.Context(), want[i]))
		}
		in.expect(t, want...)
	},
	"what is not watched is not heard": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		require.NoError(t, store.Publish(t.Context(), changed("Acme", "v1")))
		require.NoError(t, store.Publish(t.Context(), changed("other", "v1")))
		require.NoError(t, store.Publish(t.Context(), changed("acme", "end")))
		in.expect(t, changed("acme", "end"))
	},
	"an ended subscription is not heard": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		require.NoError(t, store.Watch(t.Context(), "other"))
		store.Unwatch("acme")
		store.Unwatch("never watched")
		require.NoError(t, store.Publish(t.Context(), changed("acme", "v1")))
		require.NoError(t, store.Publish(t.Context(), changed("other", "end")))
		in.expect(t, changed("other", "end"))
	},
	"watching again after an end works": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		var want []pleoauth.Notice
		for i := range 50 {
			require.NoError(t, store.Watch(t.Context(), "acme"))
			want = append(want, changed("acme", fmt.Sprint(i)))
			require.NoError(t, store.Publish(t.Context(), want[i]))
			in.expect(t, want...)
			store.Unwatch("acme")
		}
	},
	"watching twice hears once": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		require.NoError(t, store.Watch(t.Context(), "acme"))
		require.NoError(t, store.Watch(t.Context(), "acme"))
		require.NoError(t, store.Publish(t.Context(), changed("acme", "v1")))
		require.NoError(t, store.Publish(t.Context(), changed("acme", "end")))
		in.expect(t, changed("acme", "v1"), changed("acme", "end"))
	},
	"every notice after a watch returned is heard": func(s suite, t *testing.T) {
		id := identity()
		publisher := s.store(t, id)
		for i := range 20 {
			store := publisher
			if s.features.SharedNotices {
				store = s.store(t, id)
			}
			in := listen(store)
			name := fmt.Sprintf("acme-%d", i)
			require.NoError(t, store.Watch(t.Context(), name))
			require.NoError(t, publisher.Publish(t.Context(), changed(name, "v1")))
			in.expect(t, changed(name, "v1"))
		}
	},
	"many watch at once": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		in := listen(store)
		const n = 300
		for _, err := range together(t.Context(), n, func(ctx context.Context, i int) error {
			return store.Watch(ctx, fmt.Sprintf("acme-%d", i%(n/2)))
		}) {
			require.NoError(t, err)
		}
		for i := range n / 2 {
			require.NoError(t, store.Publish(t.Context(), changed(fmt.Sprintf("acme-%d", i), "v")))
		}
		require.Eventually(t, func() bool { return len(in.all()) == n/2 }, patience, time.Millisecond)
	},
	"every store over the same place hears": func(s suite, t *testing.T) {
		if !s.features.SharedNotices {
			return // one process, one store: the notices stay in it
		}
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		inA, inB := listen(a), listen(b)
		require.NoError(t, a.Watch(t.Context(), "acme"))
		require.NoError(t, b.Watch(t.Context(), "acme"))
		_, err := a.Swap(t.Context(), "acme", read(t, a, "acme"), record("v1"), pleoauth.SwapOptions{Notice: changed("acme", "v1")})
		require.NoError(t, err)
		inA.expect(t, changed("acme", "v1"))
		inB.expect(t, changed("acme", "v1"))
	},
	"other identities do not hear": func(s suite, t *testing.T) {
		store, stranger := s.store(t, identity()), s.store(t, identity())
		in := listen(stranger)
		require.NoError(t, stranger.Watch(t.Context(), "acme"))
		require.NoError(t, store.Publish(t.Context(), changed("acme", "v1")))
		require.NoError(t, stranger.Publish(t.Context(), changed("acme", "end")))
		in.expect(t, changed("acme", "end"))
	},
}
