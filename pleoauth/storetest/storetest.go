// Package storetest is the suite that every [pleoauth.Store] has to pass.
package storetest

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Open returns a new store for the records of id. All stores that one Run
// opens keep their records in the same place; the test closes them.
type Open func(t *testing.T, id pleoauth.Identity) pleoauth.Store

// Features say what a store does beyond the interface.
type Features struct {
	// SharedNotices: a notice reaches all stores over the same place, not only
	// the one that published it.
	SharedNotices bool
}

// patience bounds waits that end at once where all is well.
const patience = 20 * time.Second

// group is a part of the suite.
type group struct {
	name  string
	tests map[string]func(suite, *testing.T)
}

// Run tests the stores that open returns; of a [pleoauth.Outbox] that, too.
func Run(t *testing.T, open Open, features Features) {
	groups := []group{
		{"records", recordTests},
		{"locks", lockTests},
		{"notices", noticeTests},
		{"flows", flowTests},
		{"list", listTests},
		{"due", dueTests},
		{"life", lifeTests},
	}
	s := suite{open: open, features: features}
	if _, ok := s.store(t, identity()).(pleoauth.Outbox); ok {
		groups = append(groups, group{"outbox", outboxTests})
	}
	s.run(t, groups)
}

// RunOutbox tests what the stores that open returns do as an [pleoauth.Outbox],
// and nothing else.
func RunOutbox(t *testing.T, open Open) {
	suite{open: open}.run(t, []group{{"outbox", outboxTests}})
}

func (s suite) run(t *testing.T, groups []group) {
	for _, group := range groups {
		t.Run(group.name, func(t *testing.T) {
			names := make([]string, 0, len(group.tests))
			for name := range group.tests {
				names = append(names, name)
			}
			slices.Sort(names)
			for _, name := range names {
				t.Run(name, func(t *testing.T) { group.tests[name](s, t) })
			}
		})
	}
}

type suite struct {
	open     Open
	features Features
}

// identity returns one that no other test uses, so that tests do not meet.
func identity() pleoauth.Identity {
	return pleoauth.Identity{Issuer: "https://auth.example.com", ClientID: "client-" + rand.Text()}
}

// store opens a store that is closed when the test ends.
func (s suite) store(t *testing.T, id pleoauth.Identity) pleoauth.Store {
	t.Helper()
	store := s.open(t, id)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

// record returns a record with every field set.
func record(version string) pleoauth.Record {
	at := time.Date(2026, 11, 22, 1, 2, 3, 4_000_000, time.UTC)
	sealed := make([]byte, 256)
	for i := range sealed {
		sealed[i] = byte(i)
	}
	return pleoauth.Record{
		Issuer: "https://auth.example.com", ClientID: "client", Seq: 1790000000000, Generation: 7,
		Lineage: "lineage", Version: version, State: pleoauth.StateReauthorisationRequired,
		Reason: pleoauth.ReasonLostResponse, Sealed: sealed, Subject: "urn:pleo:company:é\" \\<&>\u2028",
		Obtained: at, Expires: at.Add(time.Hour), Epoch: "epoch",
		Mark: &pleoauth.Mark{
			Nonce: "nonce", Version: version, Kind: pleoauth.MarkRefresh, Life: 15 * time.Second,
			Attempt: 2, Replica: "replica", Time: at,
		},
		Attempts: 3, NotBefore: at.Add(time.Minute), NotBeforeWait: time.Minute, NotBeforeReason: "refresh-failed",
		For401At: at.Add(time.Second), Introspection: pleoauth.VerdictUsable, HeardActive: at.Add(2 * time.Second),
		Due: at.Add(24 * time.Hour),
	}
}

// read returns what the store has.
func read(t *testing.T, store pleoauth.Store, name string) pleoauth.Snapshot {
	t.Helper()
	snapshot, err := store.Read(t.Context(), name)
	require.NoError(t, err)
	return snapshot
}

// put stores a record over whatever is there.
func put(t *testing.T, store pleoauth.Store, name string, r pleoauth.Record) pleoauth.Snapshot {
	t.Helper()
	snapshot, err := store.Swap(t.Context(), name, read(t, store, name), r, pleoauth.SwapOptions{})
	require.NoError(t, err)
	return snapshot
}

// inbox collects the notices of a store.
type inbox struct {
	mu      sync.Mutex
	notices []pleoauth.Notice
}

func listen(store pleoauth.Store) *inbox {
	in := &inbox{}
	store.Listen(func(n pleoauth.Notice) {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.notices = append(in.notices, n)
	})
	return in
}

func (in *inbox) all() []pleoauth.Notice {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.notices)
}

// expect waits until exactly these notices have come.
func (in *inbox) expect(t *testing.T, want ...pleoauth.Notice) {
	t.Helper()
	require.Eventually(t, func() bool { return len(in.all()) >= len(want) }, patience, time.Millisecond)
	require.Equal(t, want, in.all())
}

// together runs f n times at once and returns the errors.
func together(ctx context.Context, n int, f func(ctx context.Context, i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			<-start
			errs[i] = f(ctx, i)
		})
	}
	close(start)
	group.Wait()
	return errs
}
