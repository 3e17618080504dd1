package pleoauth_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// useKeys reconfigures a replica with other keys, as a reload does.
func (r *replica) useKeys(t *testing.T, keys ...string) {
	t.Helper()
	ring, err := pleoauth.NewKeyring(keys...)
	require.NoError(t, err)
	require.NoError(t, r.Reconfigure(r.Config(), ring))
}

// connect authorises n connections, a company each.
func (w *world) connect(r *replica, n int) []string {
	w.t.Helper()
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf("customer-%d", i)
		w.authorise(r, names[i], "")
	}
	return names
}

func keyOf(t *testing.T, r *replica, name string) string {
	t.Helper()
	info, err := r.Connection(context.Background(), name)
	require.NoError(t, err)
	return info.KeyID
}

func TestRekeySealsEverythingWithTheFirstKeySoThatTheOldOneCanGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		names := w.connect(r, 5)
		require.NoError(t, r.Disconnect(context.Background(), names[4]))
		next := pleoauth.GenerateKey()
		r.useKeys(t, next, w.key)

		report, err := r.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.True(t, report.Done())
		require.Equal(t, []int{5, 4, 0, 1}, []int{report.Connections, report.Resealed, report.Already, report.WithoutGrant})
		require.Equal(t, report.KeyID, keyOf(t, r, names[0]))

		report, err = r.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.Equal(t, []int{5, 0, 4, 1}, []int{report.Connections, report.Resealed, report.Already, report.WithoutGrant})

		fresh := w.replica()
		fresh.useKeys(t, next)
		for _, name := range names[:4] {
			w.token(fresh, name)
			require.NoError(t, fresh.Refresh(context.Background(), name))
		}
		require.Zero(t, w.pleo.Counters().Replays)
		require.Equal(t, pleoauth.HealthReady, fresh.Health(context.Background()).Status)
	})
}

func TestRekeyHasNothingLeftToDoAboutRecordsOfOtherClients(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		names := w.connect(r, 2)
		snap, err := r.store.Read(t.Context(), names[0])
		require.NoError(t, err)
		foreign := snap.Record
		foreign.ClientID = "another-client"
		_, err = r.store.Swap(t.Context(), names[0], snap, foreign, pleoauth.SwapOptions{})
		require.NoError(t, err)
		report, err := r.Rekey(t.Context(), "", 0)
		require.NoError(t, err)
		require.True(t, report.Done())
		require.Equal(t, []int{2, 1, 1, 0}, []int{report.Connections, report.Foreign, report.Already, report.Left})
		require.Empty(t, report.Failures)
	})
}

func TestRekeyChangesNothingOfARecordButItsSealedGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		r.useKeys(t, pleoauth.GenerateKey(), w.key)
		var swaps int
		w.store.watchSwaps(func(_ string, before, after pleoauth.Record) {
			swaps++
			require.NotEqual(t, before.Sealed, after.Sealed)
			before.Sealed = after.Sealed
			require.Equal(t, before, after)
		})
		_, err := r.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.Equal(t, 1, swaps)
	})
}

func TestARefreshThatIsUnderWayDuringRekeyIsStoredAndNeverUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		next := pleoauth.GenerateKey()
		a.useKeys(t, next, w.key)
		b.useKeys(t, next, w.key)
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayAfter: 3 * time.Second})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		report, err := b.Rekey(context.Background(), "", 0) // beside a mark
		require.NoError(t, err)
		require.Equal(t, 1, report.Resealed)
		require.NoError(t, <-done)
		w.token(b, "default")
		c := w.pleo.Counters()
		require.Equal(t, []int{1, 1, 0}, []int{c.RefreshRequests, c.Refreshes, c.Replays})
	})
}

// A refresh is stored between Rekey's read and its write.
func TestRekeyNeverPutsAnOlderGrantBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		b.useKeys(t, pleoauth.GenerateKey(), w.key) // a still seals with the old key
		once := false
		b.store.onStep(func(op, when string) error {
			if op == "swap" && when == "before" && !once {
				once = true
				require.NoError(t, a.Refresh(context.Background(), "default"))
			}
			return nil
		})
		report, err := b.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.True(t, once)
		require.Equal(t, 1, report.Resealed)
		require.Equal(t, report.KeyID, keyOf(t, b, "default"), "what the refresh has stored is sealed anew")
		info, err := b.Connection(context.Background(), "default")
		require.NoError(t, err)
		require.EqualValues(t, 2, info.Generation)
		w.token(b, "default")
	})
}

func TestRekeyThatWasInterruptedGoesOnOrBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.connect(r, 7)
		r.useKeys(t, pleoauth.GenerateKey(), w.key)

		first, err := r.Rekey(context.Background(), "", 3)
		require.NoError(t, err)
		require.Equal(t, 3, first.Resealed)
		require.NotEmpty(t, first.Next)
		require.False(t, first.Done())

		r.store.setAway(true)
		broken, err := r.Rekey(context.Background(), first.Next, 0)
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
		require.Equal(t, first.Next, broken.Next)
		r.store.setAway(false)

		cancelled, cancel := context.WithCancel(context.Background())
		cancel()
		_, err = r.Rekey(cancelled, first.Next, 0)
		require.ErrorIs(t, err, context.Canceled)

		rest, err := r.Rekey(context.Background(), first.Next, 0)
		require.NoError(t, err)
		require.Equal(t, 4, rest.Resealed)
		first.Add(rest)
		require.True(t, first.Done())
		require.Equal(t, 7, first.Resealed)

		again, err := r.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.Equal(t, 7, again.Already)
	})
}

func TestWhatNoKeyOpensIsKeptNamedAndOpensOnceTheKeyIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.connect(r, 2)
		oldID := keyOf(t, r, "customer-0")
		lost := w.replica()
		lost.useKeys(t, pleoauth.GenerateKey())
		var swaps int
		w.store.watchSwaps(func(string, pleoauth.Record, pleoauth.Record) { swaps++ })

		report, err := lost.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.False(t, report.Done())
		require.Equal(t, 2, report.Left)
		require.Equal(t, map[string]int{oldID: 2}, report.LeftByKey)
		require.Len(t, report.Failures, 2)
		require.Contains(t, report.Failures[0].Error, "no encryption_key with id "+oldID)

		_, err = lost.Token(context.Background(), "customer-0")
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
		sealed := new(pleoauth.SealedError)
		require.ErrorAs(t, err, &sealed)
		require.Equal(t, oldID, sealed.KeyID)
		require.True(t, sealed.Missing)
		require.Error(t, lost.Refresh(context.Background(), "customer-0"))
		health := lost.Health(context.Background())
		require.Equal(t, pleoauth.HealthDegraded, health.Status)
		require.Contains(t, health.Reasons[0], "1; no encryption_key is configured with the id "+oldID)
		require.Zero(t, swaps, "nothing is written")
		require.Zero(t, w.pleo.Counters().RefreshRequests)

		lost.useKeys(t, pleoauth.GenerateKey(), w.key)
		require.Equal(t, pleoauth.HealthReady, lost.Health(context.Background()).Status)
		w.token(lost, "customer-0")
	})
}

func TestAGrantThatWasMovedToAnotherConnectionCutShortOrChangedIsRefusedAndKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.connect(r, 2)
		store := w.store.client()
		stored, err := store.Read(context.Background(), "customer-0")
		require.NoError(t, err)
		other, err := store.Read(context.Background(), "customer-1")
		require.NoError(t, err)

		for what, sealed := range map[string][]byte{
			"another connection's": other.Sealed,
			"cut short":            stored.Sealed[:len(stored.Sealed)-1],
			"changed":              append([]byte{stored.Sealed[0], stored.Sealed[1] ^ 1}, stored.Sealed[2:]...),
			"nearly nothing":       stored.Sealed[:3],
		} {
			now, err := store.Read(context.Background(), "customer-0")
			require.NoError(t, err)
			next := now.Record
			next.Sealed = sealed
			_, err = store.Swap(context.Background(), "customer-0", now, next, pleoauth.SwapOptions{})
			require.NoError(t, err)

			fresh := w.replica()
			_, err = fresh.Token(context.Background(), "customer-0")
			require.ErrorIs(t, err, pleoauth.ErrSealed, what)
			kept, err := store.Read(context.Background(), "customer-0")
			require.NoError(t, err)
			require.Equal(t, sealed, kept.Sealed, "%s: it is kept", what)
		}
		require.Zero(t, w.pleo.Counters().RefreshRequests)
	})
}

func TestRekeySealsWhatIsHeldOnTheLocalDiskToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		heldBy(t, w, a)
		files, err := filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		before, err := os.ReadFile(files[0])
		require.NoError(t, err)

		next := pleoauth.GenerateKey()
		disk := t.TempDir()
		path := filepath.Join(disk, filepath.Base(files[0]))
		require.NoError(t, os.WriteFile(path, before, 0o600))
		b := w.replicaWith(w.cfg, disk)

		b.useKeys(t, next)
		report, err := b.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.Equal(t, 1, report.HeldLeft)
		require.False(t, report.Done())
		unchanged, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, before, unchanged)

		b.useKeys(t, next, w.key)
		report, err = b.Rekey(context.Background(), "", 0)
		require.NoError(t, err)
		require.Equal(t, 1, report.HeldResealed)
		require.True(t, report.Done())

		// The old key is gone, and the pair is taken up all the same.
		b.useKeys(t, next)
		refreshToken, err := pleoauth.SpilledRefreshToken(b.Source, path)
		require.NoError(t, err)
		require.NotEmpty(t, refreshToken)
	})
}
