package pleoauth_test

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// heldBy has a replica refresh and lose the store before it can save.
func heldBy(t *testing.T, w *world, a *replica) *pleoauth.Token {
	t.Helper()
	old := w.token(a, "default")
	hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
	done := make(chan error, 1)
	go func() { done <- a.Refresh(context.Background(), "default") }()
	<-hold.Reached()
	a.store.setAway(true)
	hold.Release()
	require.NoError(t, <-done)
	held := w.token(a, "default")
	require.NotEqual(t, old.Version(), held.Version())
	return held
}

func TestAHolderThatIsAskedWhoHasPutsItsPairBackBeforeItIsDeclaredLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		before := w.token(b, "default").Version()
		held := heldBy(t, w, a)
		b.store.onStep(func(op, when string) error {
			if op == "publish" && when == "before" {
				a.store.setAway(false)
			}
			return nil
		})
		next := ""
		for range 60 {
			token, err := b.Token(t.Context(), "default")
			if next == "" && err == nil && token.Version() != before {
				next = token.Version()
			}
			time.Sleep(time.Second)
			require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		}
		require.Equal(t, held.Version(), next)
		w.token(b, "default")
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestAHolderThatComesBackAfterAllDeadlinesHealsTheConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")
		held := heldBy(t, w, a)
		time.Sleep(5 * time.Minute)
		_, err := b.Token(t.Context(), "default")
		require.ErrorIs(t, err, pleoauth.ErrReauthorisationRequired, "nobody else can know")
		a.store.setAway(false)
		time.Sleep(2 * time.Second)
		require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
		require.Greater(t, w.store.record("default").Generation, int64(1))
		w.token(b, "default")
		require.Equal(t, held.Version(), w.store.record("default").Version)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

func TestAHeldPairIsOnDiskFromTheFirstFailedSaveAndOutlivesTheProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		held := heldBy(t, w, a)
		files, err := filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		content, err := os.ReadFile(files[0])
		require.NoError(t, err)
		for _, secret := range w.pleo.Secrets() {
			require.NotContains(t, string(content), secret)
		}
		info, err := os.Stat(files[0])
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

		// The process dies; another starts on its disk.
		b := w.replicaOn(a.spill)
		time.Sleep(3 * time.Second)
		require.Equal(t, held.Version(), w.token(b, "default").Version())
		require.Equal(t, held.Version(), w.store.record("default").Version)
		files, err = filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Empty(t, files, "what is stored is not kept on disk")
	})
}

func TestASpilledPairOfAnEarlierAuthorisationIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		heldBy(t, w, a)
		w.authorise(b, "default", "")
		latest := w.token(b, "default")
		c := w.replicaOn(a.spill)
		time.Sleep(3 * time.Second)
		require.Equal(t, latest.Version(), w.token(c, "default").Version())
		a.store.setAway(false)
		time.Sleep(3 * time.Second)
		require.Equal(t, latest.Version(), w.token(a, "default").Version())
		require.Zero(t, a.Health(t.Context()).Unsaved)
	})
}

// The order of grants never restarts, even where the store has forgotten all of
// it: what a process has and what it has stored must not differ.
func TestAConsentThatIsStoredInAnEmptiedStoreKeepsItsPlaceInTheOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		var refuse atomic.Bool
		var marks atomic.Int64
		a.store.onStep(func(op, when string) error {
			if refuse.Load() && op == "swap" && when == "before" && marks.Add(1) > 1 {
				return errAway // the mark is written, the grant is not
			}
			return nil
		})
		w.authorise(a, "default", "")
		require.NoError(t, a.Refresh(t.Context(), "default"))
		refuse.Store(true)
		w.authorise(a, "default", "")
		w.store.failover(-1)
		refuse.Store(false)
		time.Sleep(5 * time.Second)
		require.EqualValues(t, 3, w.store.record("default").Generation)

		w.token(b, "default")
		time.Sleep(time.Minute) // the mark that it was stored with is over, and perhaps settled
		stored := w.store.record("default").Generation
		require.NoError(t, b.Refresh(t.Context(), "default"))
		time.Sleep(time.Minute)
		require.Equal(t, stored+1, w.store.record("default").Generation)
		w.token(a, "default")
		w.token(b, "default")
	})
}

func TestNothingIsSentUnderAMarkThatTheStoresReplicasHaveNotConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.store.setLagging(true)
		for range 30 {
			err := a.Refresh(t.Context(), "default")
			require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
			time.Sleep(time.Second)
		}
		require.Zero(t, w.pleo.Counters().RefreshRequests)
		require.Nil(t, w.store.record("default").Mark)
		require.NotZero(t, w.store.record("default").Attempts, "the delay between attempts grows")
		_, err := w.tryAuthorise(a, pleoauth.AuthorisationRequest{Connection: "other"}, "")
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
		require.Equal(t, 1, w.pleo.Counters().ExchangeRequests)

		w.store.setLagging(false)
		time.Sleep(time.Minute)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		require.Equal(t, 1, w.pleo.Counters().Refreshes)
	})
}

func TestAPairThatReplicasHaveNotConfirmedIsUsedByAllAndHeldUntilTheyHave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		before := w.token(b, "default").Version()
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.AfterProcessing})
		done := make(chan error, 1)
		go func() { done <- a.Refresh(context.Background(), "default") }()
		<-hold.Reached()
		w.store.setLagging(true)
		hold.Release()
		require.NoError(t, <-done)
		time.Sleep(time.Second)
		require.NotEqual(t, before, w.token(b, "default").Version())
		require.EqualValues(t, 1, a.Health(t.Context()).Unsaved)
		files, err := filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)

		w.store.setLagging(false)
		time.Sleep(2 * time.Minute)
		require.Zero(t, a.Health(t.Context()).Unsaved)
		files, err = filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Empty(t, files)
		require.Nil(t, w.store.record("default").Mark)
	})
}
