package pleoauth_test

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// memServer is a store's server in memory: one Redis, as it were, to which
// each replica has a memStore. Time is the process's, so that a synctest
// bubble drives it.
type memServer struct {
	mu      *sync.Mutex // also that of the servers that were split off
	run     string
	records map[string]memRecord
	locks   map[string]memLockState
	next    map[string]time.Time // until when a refresh is next in line for a lock
	jumped  map[string]bool      // the lock's holder was not next in line
	flows   map[string]memFlow
	changes map[string]*memChange
	stores  []*memStore
	before  []map[string]memRecord // what the records were before each of the last writes

	// swapping, if set, may spoil a swap: it changes the record that is
	// written, and says whether conditions are looked at.
	swapping func(next *pleoauth.Record) (unconditional bool)
	// master, if set, names the Cluster's master that has a connection's record.
	master func(name string) string
	// swapped, if set, sees every change.
	swapped func(name string, before, after pleoauth.Record)
	// sameRun hides that another server has taken over.
	sameRun bool
	// skew is how far the server's clock is off.
	skew time.Duration
	// asked, if set, is done when holders of a pair are next asked for it.
	asked func()
	// strayDue are names in the index that others have put there.
	strayDue []string
	// lagging says that replicas confirm nothing.
	lagging bool
	// cutOff, if set, is when the server lost its replicas to the other side of a
	// split network, see memsplit_test.go.
	cutOff time.Time
	// readOnly is until when the server refuses to write, and says so.
	readOnly time.Time
	// single says that the server is one process at one address, which refuses
	// connections while it is away.
	single bool
}

type memRecord struct {
	pleoauth.Record
	revision string
}

type memLockState struct {
	token string
	until time.Time
}

type memFlow struct {
	data  []byte
	until time.Time
}

func newMemServer() *memServer {
	return &memServer{mu: &sync.Mutex{}, run: randomID(), records: map[string]memRecord{}, locks: map[string]memLockState{}, next: map[string]time.Time{}, jumped: map[string]bool{}, flows: map[string]memFlow{}, changes: map[string]*memChange{}}
}

var (
	errAway     = errors.New("store is away")
	errReadOnly = fmt.Errorf("%w: the server is read-only", pleoauth.ErrNotWritten)
)

// failover makes another server take over that lacks the last writes and all
// locks. With writes < 0 it has nothing at all.
func (m *memServer) failover(writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.sameRun {
		m.run = randomID()
	}
	m.locks, m.next = map[string]memLockState{}, map[string]time.Time{}
	switch {
	case writes < 0:
		m.records = map[string]memRecord{}
		m.flows = map[string]memFlow{}
		m.changes = map[string]*memChange{}
	case writes > 0 && len(m.before) > 0:
		m.records = m.before[max(0, len(m.before)-writes)]
	}
	m.before = nil
	for _, s := range m.stores {
		s.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
	}
}

// spoil makes the server a mutant.
func (m *memServer) spoil(swapping func(*pleoauth.Record) bool, sameRun bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swapping, m.sameRun = swapping, sameRun
}

// watchSwaps has every change looked at.
func (m *memServer) watchSwaps(swapped func(name string, before, after pleoauth.Record)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.swapped = swapped
}

// loseLocks forgets every lock.
func (m *memServer) loseLocks() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.locks, m.next = map[string]memLockState{}, map[string]time.Time{}
}

// record returns what the server has of a connection.
func (m *memServer) record(name string) pleoauth.Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[name].Record
}

// whenAsked has something done when holders of a pair are next asked for it.
func (m *memServer) whenAsked(do func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = do
}

// setLagging has replicas confirm nothing, or again everything.
func (m *memServer) setLagging(lagging bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lagging = lagging
}

// setSkew puts the server's clock forward, or back.
func (m *memServer) setSkew(skew time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.skew = skew
}

// restore puts a record back as it once was, as an operator does with a copy; or
// takes it away, if there was none.
func (m *memServer) restore(name string, r memRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.records[name] = r; r.Empty() {
		delete(m.records, name)
	}
}

// copyOf returns a copy of a record for restore.
func (m *memServer) copyOf(name string) memRecord {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.records[name]
}

// loseKeys forgets a connection's lock, or all flows.
func (m *memServer) loseKeys(lock string, flows bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.locks, lock)
	delete(m.next, lock)
	if flows {
		m.flows = map[string]memFlow{}
	}
}

// refuseWrites has the server refuse to write for a while.
func (m *memServer) refuseWrites(length time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.readOnly = time.Now().Add(length)
}

// put replaces a record behind everybody's back, as from a backup.
func (m *memServer) put(name string, r pleoauth.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[name] = memRecord{r, randomID()}
}

func (m *memServer) publish(n pleoauth.Notice) {
	if n.Kind == pleoauth.NoticeWhoHas && m.asked != nil {
		time.AfterFunc(100*time.Millisecond, m.asked)
		m.asked = nil
	}
	for _, s := range m.stores {
		if s.watched[n.Connection] && !s.away && !s.deaf {
			s.queue.put(n)
		}
	}
}
