package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// short is a life that tests wait out.
const short = 100 * time.Millisecond

// take takes a lock that is free.
func take(t *testing.T, store pleoauth.Store, name string, life time.Duration) pleoauth.Lock {
	t.Helper()
	lock, err := store.Lock(t.Context(), name, pleoauth.LockOptions{Life: life})
	require.NoError(t, err)
	return lock
}

// takeWhenFree takes a lock once its holder's has lapsed.
func takeWhenFree(t *testing.T, store pleoauth.Store, name string) pleoauth.Lock {
	t.Helper()
	var lock pleoauth.Lock
	require.Eventually(t, func() (ok bool) {
		var err error
		lock, err = store.Lock(t.Context(), name, pleoauth.LockOptions{Life: time.Minute})
		return err == nil
	}, patience, 5*time.Millisecond)
	return lock
}

// refused requires that a caller with these options does not get the lock.
func refused(t *testing.T, store pleoauth.Store, name string, o pleoauth.LockOptions) {
	t.Helper()
	_, err := store.Lock(t.Context(), name, o)
	require.ErrorIs(t, err, pleoauth.ErrLocked)
}

// The options of a caller that would be next, for longer than a test takes, and
// of one that yields.
var (
	asNext   = pleoauth.LockOptions{Life: time.Minute, Next: time.Minute}
	yielding = pleoauth.LockOptions{Life: time.Minute, Yield: true}
)

var lockTests = map[string]func(suite, *testing.T){
	"a held lock is nobody else's": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		lock := take(t, a, "acme", time.Minute)
		for _, store := range []pleoauth.Store{a, b} {
			_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
			require.ErrorIs(t, err, pleoauth.ErrLocked)
		}
		take(t, b, "Acme", time.Minute)
		require.NoError(t, lock.Release(t.Context()))
		take(t, b, "acme", time.Minute)
	},
	"of many takers one gets it": func(s suite, t *testing.T) {
		id := identity()
		stores := []pleoauth.Store{s.store(t, id), s.store(t, id)}
		wins := 0
		for _, err := range together(t.Context(), 20, func(ctx context.Context, i int) error {
			_, err := stores[i%2].Lock(ctx, "acme", pleoauth.LockOptions{Life: time.Minute})
			return err
		}) {
			if err == nil {
				wins++
			} else {
				require.ErrorIs(t, err, pleoauth.ErrLocked)
			}
		}
		require.Equal(t, 1, wins)
	},
	"a lock lapses": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		lapsed := take(t, a, "acme", short)
		theirs := takeWhenFree(t, b, "acme")
		require.ErrorIs(t, lapsed.Renew(t.Context(), time.Minute), pleoauth.ErrLockLost)
		// The one who comes too late must not free it for others.
		require.ErrorIs(t, lapsed.Release(t.Context()), pleoauth.ErrLockLost)
		_, err := a.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
		require.ErrorIs(t, err, pleoauth.ErrLocked)
		require.NoError(t, theirs.Renew(t.Context(), time.Minute))
	},
	"a lapsed lock is lost although nobody took it": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lapsed := take(t, store, "acme", short)
		require.NoError(t, takeWhenFree(t, store, "acme").Release(t.Context()))
		require.ErrorIs(t, lapsed.Renew(t.Context(), time.Minute), pleoauth.ErrLockLost)
	},
	"a renewed lock outlives its first life": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", 2*time.Second)
		witness := take(t, store, "witness", 2*time.Second)
		require.NoError(t, lock.Renew(t.Context(), time.Minute))
		takeWhenFree(t, store, "witness")
		require.ErrorIs(t, witness.Renew(t.Context(), time.Minute), pleoauth.ErrLockLost)
		_, err := store.Lock(t.Context(), "acme", pleoauth.LockOptions{Life: time.Minute})
		require.ErrorIs(t, err, pleoauth.ErrLocked)
		require.NoError(t, lock.Release(t.Context()))
	},
	"renewing can shorten": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", time.Hour)
		require.NoError(t, lock.Renew(t.Context(), short))
		takeWhenFree(t, store, "acme")
	},
	"a lock is released although its context has ended": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		ctx, cancel := context.WithCancel(t.Context())
		lock, err := store.Lock(ctx, "acme", pleoauth.LockOptions{Life: time.Minute})
		require.NoError(t, err)
		cancel()
		require.NoError(t, lock.Release(ctx))
		take(t, store, "acme", time.Minute)
	},
	"a lock is released once": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", time.Minute)
		require.NoError(t, lock.Release(t.Context()))
		require.ErrorIs(t, lock.Release(t.Context()), pleoauth.ErrLockLost)
		require.ErrorIs(t, lock.Renew(t.Context(), time.Minute), pleoauth.ErrLockLost)
	},
	"a swap needs the lock that it names": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		old := put(t, a, "acme", record("v1"))
		lost := take(t, a, "acme", short)
		held := takeWhenFree(t, b, "acme")
		_, err := a.Swap(t.Context(), "acme", old, record("v2"), pleoauth.SwapOptions{Lock: lost})
		require.ErrorIs(t, err, pleoauth.ErrLockLost)
		require.Equal(t, "v1", read(t, a, "acme").Version)
		_, err = b.Swap(t.Context(), "acme", old, record("v2"), pleoauth.SwapOptions{Lock: held})
		require.NoError(t, err)
	},
	"a swap without a lock needs none": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		take(t, a, "acme", time.Minute)
		put(t, b, "acme", record("v1"))
	},
	"a swap takes no released lock and no other connection's": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		old := put(t, store, "acme", record("v1"))
		released := take(t, store, "acme", time.Minute)
		require.NoError(t, released.Release(t.Context()))
		other := take(t, store, "other", time.Minute)
		for _, lock := range []pleoauth.Lock{released, other} {
			_, err := store.Swap(t.Context(), "acme", old, record("v2"), pleoauth.SwapOptions{Lock: lock})
			require.ErrorIs(t, err, pleoauth.ErrLockLost)
		}
		require.Equal(t, "v1", read(t, store, "acme").Version)
	},
	"a swap keeps the lock": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", time.Minute)
		_, err := store.Swap(t.Context(), "acme", read(t, store, "acme"), record("v1"), pleoauth.SwapOptions{Lock: lock})
		require.NoError(t, err)
		require.NoError(t, lock.Renew(t.Context(), time.Minute))
	},
	"a caller that yields gets a lock for which no caller is next": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		lock, err := a.Lock(t.Context(), "acme", yielding)
		require.NoError(t, err)
		refused(t, b, "acme", yielding)
		refused(t, b, "acme", pleoauth.LockOptions{Life: time.Minute})
		require.NoError(t, lock.Release(t.Context()))
		_, err = b.Lock(t.Context(), "acme", yielding)
		require.NoError(t, err, "callers that wait without being next keep no place")
	},
	"a free lock is left to the caller that is next": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		lock := take(t, a, "acme", time.Minute)
		refused(t, b, "acme", asNext)
		require.NoError(t, lock.Release(t.Context()))
		for _, store := range []pleoauth.Store{a, b} {
			refused(t, store, "acme", yielding)
		}
		_, err := a.Lock(t.Context(), "other", yielding)
		require.NoError(t, err, "each connection has its own line")
		lock, err = b.Lock(t.Context(), "acme", asNext)
		require.NoError(t, err)
		refused(t, a, "acme", yielding)
		require.NoError(t, lock.Release(t.Context()))
		lock, err = a.Lock(t.Context(), "acme", yielding)
		require.NoError(t, err, "the caller that was next has had its turn")
		require.NoError(t, lock.Release(t.Context()))
	},
	"a caller that neither yields nor is next takes a free lock and ends no turn": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", time.Minute)
		refused(t, store, "acme", asNext)
		require.NoError(t, lock.Release(t.Context()))
		require.NoError(t, take(t, store, "acme", time.Minute).Release(t.Context()))
		refused(t, store, "acme", yielding)
	},
	"a turn ends by itself": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.store(t, id), s.store(t, id)
		lock := take(t, a, "acme", time.Minute)
		began := time.Now()
		refused(t, b, "acme", pleoauth.LockOptions{Life: time.Minute, Next: 2 * short})
		require.NoError(t, lock.Release(t.Context()))
		require.Eventually(t, func() bool {
			_, err := a.Lock(t.Context(), "acme", yielding)
			return err == nil
		}, patience, 5*time.Millisecond)
		require.GreaterOrEqual(t, time.Since(began), 2*short-5*time.Millisecond)
	},
	"each look of a waiting caller prolongs its turn": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock := take(t, store, "acme", time.Minute)
		refused(t, store, "acme", pleoauth.LockOptions{Life: time.Minute, Next: short})
		refused(t, store, "acme", asNext)
		witness := take(t, store, "witness", 2*short)
		takeWhenFree(t, store, "witness")
		require.ErrorIs(t, witness.Renew(t.Context(), time.Minute), pleoauth.ErrLockLost)
		require.NoError(t, lock.Release(t.Context()))
		refused(t, store, "acme", yielding)
	},
	"a caller that obtains a free lock at once leaves no turn behind": func(s suite, t *testing.T) {
		store := s.store(t, identity())
		lock, err := store.Lock(t.Context(), "acme", asNext)
		require.NoError(t, err)
		require.NoError(t, lock.Release(t.Context()))
		_, err = store.Lock(t.Context(), "acme", yielding)
		require.NoError(t, err)
	},
}
