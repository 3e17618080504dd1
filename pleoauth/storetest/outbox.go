package storetest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// longLease is one that does not lapse while a test runs.
	longLease = time.Hour
	// shortLease is one that a test sees lapse.
	shortLease = 50 * time.Millisecond
)

var outboxTests = map[string]func(suite, *testing.T){
	"a change of state is noted, and claimed once": func(s suite, t *testing.T) {
		id := identity()
		a, b := s.outbox(t, id), s.outbox(t, id)
		noted := 0
		a.NoteChanges(func() { noted++ })
		put(t, a, "acme", connected(1))
		require.Equal(t, 1, noted)
		c := claimOne(t, b, longLease)
		require.Equal(t, "acme", c.Connection)
		require.Empty(t, c.Told)
		require.GreaterOrEqual(t, c.Age, time.Duration(0))
		require.Less(t, c.Age, patience)
		require.WithinDuration(t, read(t, a, "acme").Now, c.At, patience)
		require.Empty(t, claim(t, a, longLease))
		require.Empty(t, claim(t, b, longLease))
	},
	"what changes neither state nor authorisation is not noted": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		put(t, a, "acme", connected(1))
		a.NoteChanges(func() {})
		refreshed := connected(1)
		refreshed.Generation, refreshed.Version = 2, "second"
		put(t, a, "acme", refreshed)
		require.Empty(t, claim(t, a, longLease))
		put(t, a, "acme", connected(2))
		c := claimOne(t, a, longLease)
		require.NoError(t, a.FinishChange(t.Context(), c, nil, 0))
		put(t, a, "acme", pleoauth.Record{})
		require.Equal(t, "acme", claimOne(t, a, longLease).Connection, "that it is gone is a change, too")
	},
	"nothing is noted before it is asked for, nor afterwards": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		put(t, a, "before", connected(1))
		a.NoteChanges(func() {})
		a.NoteChanges(nil)
		put(t, a, "after", connected(1))
		require.Empty(t, claim(t, a, longLease))
	},
	"a swap that is refused notes nothing": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		old := read(t, a, "acme")
		put(t, a, "acme", connected(1))
		a.NoteChanges(func() {})
		_, err := a.Swap(t.Context(), "acme", old, connected(2), pleoauth.SwapOptions{})
		require.ErrorIs(t, err, pleoauth.ErrConflict)
		require.Empty(t, claim(t, a, longLease))
	},
	"of many claimants one gets a change": func(s suite, t *testing.T) {
		id := identity()
		stores := []outbox{s.outbox(t, id), s.outbox(t, id), s.outbox(t, id), s.outbox(t, id)}
		stores[0].NoteChanges(func() {})
		put(t, stores[0], "acme", connected(1))
		got := make([]int, len(stores))
		for _, err := range together(t.Context(), len(stores), func(ctx context.Context, i int) error {
			changes, err := stores[i].ClaimChanges(ctx, 10, longLease)
			got[i] = len(changes)
			return err
		}) {
			require.NoError(t, err)
		}
		require.ElementsMatch(t, []int{1, 0, 0, 0}, got)
	},
	"no more are claimed than are asked for": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		for i := range 5 {
			put(t, a, "c"+strconv.Itoa(i), connected(1))
		}
		first, err := a.ClaimChanges(t.Context(), 3, longLease)
		require.NoError(t, err)
		require.Len(t, first, 3)
		require.Len(t, claim(t, a, longLease), 2)
	},
	"a claim that lapses is another's, and its holder is told so": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		dead := claimOne(t, a, shortLease)
		c := awaitClaim(t, a)
		require.NotEqual(t, dead.Claim, c.Claim)
		require.Equal(t, dead.Seen, c.Seen)
		require.ErrorIs(t, a.KeepChange(t.Context(), dead, []byte("x"), longLease), pleoauth.ErrClaimLost)
		require.ErrorIs(t, a.FinishChange(t.Context(), dead, []byte("x"), 0), pleoauth.ErrClaimLost)
		require.NoError(t, a.FinishChange(t.Context(), c, []byte("y"), 0))
		require.ErrorIs(t, a.FinishChange(t.Context(), c, []byte("z"), 0), pleoauth.ErrClaimLost)
		require.Empty(t, claim(t, a, longLease))
	},
	"a claim that nobody else wants may be finished late": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		c := claimOne(t, a, time.Millisecond)
		time.Sleep(5 * time.Millisecond)
		require.NoError(t, a.FinishChange(t.Context(), c, nil, 0))
	},
	"what is kept is there for the next claimant, and the lease counts anew": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		c := claimOne(t, a, longLease)
		told := []byte(`{"é":"\"\\"}`)
		require.NoError(t, a.KeepChange(t.Context(), c, told, shortLease))
		next := awaitClaim(t, a)
		require.Equal(t, told, next.Told)
		require.NoError(t, a.FinishChange(t.Context(), next, told, 0))
		put(t, a, "acme", connected(2))
		last := claimOne(t, a, longLease)
		require.Equal(t, told, last.Told)
		require.NotEqual(t, next.Seen, last.Seen)
	},
	"a change that is to be looked at again is, after its time": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		c := claimOne(t, a, longLease)
		require.NoError(t, a.FinishChange(t.Context(), c, []byte("later"), longLease))
		require.Empty(t, claim(t, a, longLease))
		put(t, a, "acme", connected(2)) // that is news
		c = claimOne(t, a, longLease)
		require.NoError(t, a.FinishChange(t.Context(), c, []byte("soon"), shortLease))
		again := awaitClaim(t, a)
		require.Equal(t, []byte("soon"), again.Told)
		require.Equal(t, c.At, again.At)
		require.GreaterOrEqual(t, again.Age, shortLease)
	},
	"a change during a claim waits for its end, and is looked at then": func(s suite, t *testing.T) {
		a := s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		c := claimOne(t, a, longLease)
		put(t, a, "acme", connected(2))
		require.Empty(t, claim(t, a, longLease))
		require.NoError(t, a.KeepChange(t.Context(), c, []byte("1"), longLease))
		require.Empty(t, claim(t, a, longLease))
		require.NoError(t, a.FinishChange(t.Context(), c, []byte("1"), longLease))
		next := claimOne(t, a, longLease)
		require.NotEqual(t, c.Seen, next.Seen)
		require.Equal(t, []byte("1"), next.Told)
	},
	"identities do not meet": func(s suite, t *testing.T) {
		a, b := s.outbox(t, identity()), s.outbox(t, identity())
		a.NoteChanges(func() {})
		put(t, a, "acme", connected(1))
		require.Empty(t, claim(t, b, longLease))
	},
}

// outbox is a store that notes changes.
type outbox interface {
	pleoauth.Store
	pleoauth.Outbox
}

func (s suite) outbox(t *testing.T, id pleoauth.Identity) outbox {
	t.Helper()
	o, ok := s.store(t, id).(outbox)
	require.True(t, ok, "of one place all stores are outboxes, or none")
	return o
}

func connected(seq int64) pleoauth.Record {
	return pleoauth.Record{State: pleoauth.StateConnected, Seq: seq, Generation: 1, Version: "version"}
}

func claim(t *testing.T, o pleoauth.Outbox, lease time.Duration) []pleoauth.Change {
	t.Helper()
	changes, err := o.ClaimChanges(t.Context(), 100, lease)
	require.NoError(t, err)
	return changes
}

func claimOne(t *testing.T, o pleoauth.Outbox, lease time.Duration) pleoauth.Change {
	t.Helper()
	changes := claim(t, o, lease)
	require.Len(t, changes, 1)
	return changes[0]
}

// awaitClaim waits until there is something to be claimed.
func awaitClaim(t *testing.T, o pleoauth.Outbox) pleoauth.Change {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if changes := claim(t, o, longLease); len(changes) > 0 {
			require.Len(t, changes, 1)
			return changes[0]
		}
		require.True(t, time.Now().Before(end), "nothing is to be claimed")
	}
}
