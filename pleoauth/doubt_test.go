package pleoauth_test

import (
	"context"
	"net"
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

// countReads counts a replica's reads of the store, which take a moment each.
func countReads(r *replica) *atomic.Int64 {
	reads := new(atomic.Int64)
	r.store.onStep(func(op, when string) error {
		time.Sleep(time.Millisecond)
		if op == "read" && when == "before" {
			reads.Add(1)
		}
		return nil
	})
	return reads
}

// A refused connection tells when the run ended that refused it, not when a
// later one did that this process never saw.
func TestARunThatNobodySawEndsIsNotCountedFromAnEarlierOnesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.store.single = true
		a, b := w.replica(), w.replica()
		w.authorise(a, "default", "")
		w.token(b, "default")

		// The store restarts. B meets the refusal, and is not used for a while.
		a.store.setAway(true)
		b.store.setAway(true)
		require.Error(t, b.Refresh(t.Context(), "default"))
		w.store.failover(0)
		a.store.setAway(false)
		b.store.setAway(false)
		time.Sleep(5 * time.Minute)

		// A goes on in the new run, and is refreshing when the store restarts
		// again, without its last write.
		hold := w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: 8 * time.Second})
		go func() { _ = a.Refresh(context.Background(), "default") }()
		time.Sleep(20 * time.Second) // the unknown mark of the new run is waited out
		<-hold.Reached()
		w.store.failover(1)
		go func() { _ = b.Refresh(context.Background(), "default") }()
		time.Sleep(time.Minute)
		require.Zero(t, w.pleo.Counters().Replays)
	})
}

// No decision uses another machine's clock: the store's may be put back.
func TestAStoreWhoseClockIsPutBackIsStillLearntFrom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(), w.replica()
		reads := countReads(b)
		w.authorise(a, "default", "")
		w.token(b, "default")
		w.store.setSkew(-time.Hour)
		require.NoError(t, a.Refresh(t.Context(), "default"))
		synctest.Wait()
		time.Sleep(time.Second)
		w.token(b, "default")
		w.store.setSkew(-time.Hour - 2*time.Second) // to a moment before the last read
		require.NoError(t, a.Refresh(t.Context(), "default"))
		synctest.Wait()
		time.Sleep(time.Second)
		w.token(b, "default")
		w.token(a, "default")
		token, err := b.Token(t.Context(), "default")
		require.NoError(t, err)
		_, err = b.Refused(t.Context(), "default", token)
		require.ErrorIs(t, err, pleoauth.ErrTokenAlive)
		require.Less(t, reads.Load(), int64(50))
	})
}

// Whether a pair that the store has lost lives has to be asked; while Pleo does
// not say, nobody asks without a growing delay.
func TestAPairThatCannotBeAskedAboutIsAskedAboutWithAGrowingDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		reads := countReads(a)
		w.authorise(a, "default", "")
		w.token(a, "default")
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Status: 503, Times: pleotest.Always})
		w.store.failover(-1)
		time.Sleep(14 * time.Minute) // the token is about to expire
		asked := w.pleo.Counters().Introspections
		reads.Store(0)
		for range 120 {
			go func() { _, _ = a.Token(context.Background(), "default") }()
			time.Sleep(time.Second)
		}
		require.Less(t, reads.Load(), int64(800), "reads of the store in two minutes")
		require.Less(t, w.pleo.Counters().Introspections-asked, 12, "introspections in two minutes")
	})
}

func TestAHeldPairOfAnotherAuthorisationWithTheSameOrderIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		before := w.store.record("default")
		heldBy(t, w, a)
		other := before
		other.Lineage, other.Version, other.Generation = "another", "another", before.Generation
		other.Mark = nil
		w.store.put("default", other)
		a.store.setAway(false)
		time.Sleep(time.Minute)
		require.Zero(t, a.Health(t.Context()).Unsaved)
	})
}

// Two pairs of one connection may be on the disk: both were held when the
// process died. The later one must reach the store without being used first.
func TestOfTwoSpilledPairsTheLaterOneIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		heldBy(t, w, a)
		files, err := filepath.Glob(filepath.Join(a.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		first, err := os.ReadFile(files[0])
		require.NoError(t, err)

		// A later authorisation, through another replica, is held as well.
		b := w.replica()
		b.store.onStep(func(op, when string) error { // before its first use
			if op == "swap" && when == "before" && w.pleo.Counters().Exchanges == 2 {
				return errAway
			}
			return nil
		})
		w.authorise(b, "default", "")
		latest, err := b.Token(t.Context(), "default")
		require.NoError(t, err)
		files, err = filepath.Glob(filepath.Join(b.spill, "*.pair"))
		require.NoError(t, err)
		require.Len(t, files, 1)
		second, err := os.ReadFile(files[0])
		require.NoError(t, err)
		for _, name := range []string{"00000000.pair", "zzzzzzzz.pair"} { // in either order
			record := w.store.record("default")
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), first, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "5"+filepath.Base(files[0])), second, 0o600))
			c := w.replicaOn(dir)
			time.Sleep(10 * time.Second)
			require.Equal(t, latest.Version(), w.store.record("default").Version, name)
			c.stop()
			w.store.put("default", record)
		}
	})
}

func TestATokenThatLivesForASecondAndIsLongInComingIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.replica()
		w.authorise(a, "default", "")
		w.pleo.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, Times: pleotest.Always, DelayAfter: 1500 * time.Millisecond,
			Set: map[string]any{"expires_in": 1},
		})
		time.Sleep(idle)
		before := w.pleo.Counters().Refreshes
		_, err := a.Token(t.Context(), "default")
		require.NoError(t, err)
		require.LessOrEqual(t, w.pleo.Counters().Refreshes-before, 2)
	})
}

// A server that answers without a status line is answering all the same.
func TestAnAnswerThatIsNoHTTPPutsNoTokenIntoTheError(t *testing.T) {
	dial := func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Read(make([]byte, 8192))
			_, _ = theirs.Write([]byte(`{"access_token":"s3cr3t-access","refresh_token":"s3cr3t-refresh"}` + "\r\n\r\n"))
			_ = theirs.Close()
		}()
		return ours, nil
	}
	client, err := pleoauth.NewClient(pleoauth.Config{AuthServer: "http://auth.localhost", ClientID: "client"}, dial, nil)
	require.NoError(t, err)
	_, err = client.Refresh(t.Context(), "spent", 5*time.Second)
	require.ErrorIs(t, err, pleoauth.ErrAmbiguous)
	require.NotContains(t, err.Error(), "s3cr3t")
}
