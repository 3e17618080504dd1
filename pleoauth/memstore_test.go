package pleoauth_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"sync"
	"syscall"
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
	mu      sync.Mutex
	run     string
	records map[string]memRecord
	locks   map[string]memLockState
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
	// lagging says that replicas confirm nothing.
	lagging bool
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
	return &memServer{run: randomID(), records: map[string]memRecord{}, locks: map[string]memLockState{}, flows: map[string]memFlow{}, changes: map[string]*memChange{}}
}

var errAway = errors.New("store is away")

// failover makes another server take over that lacks the last writes and all
// locks. With writes < 0 it has nothing at all.
func (m *memServer) failover(writes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.sameRun {
		m.run = randomID()
	}
	m.locks = map[string]memLockState{}
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
	m.locks = map[string]memLockState{}
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

// memStore is one replica's way to the server.
type memStore struct {
	server  *memServer
	queue   *noticeQueue
	watched map[string]bool // guarded by server.mu
	away    bool            // guarded by server.mu
	deaf    bool            // gets no notices; guarded by server.mu

	// step, if set, is called before and after each operation has happened at
	// the server. An error is returned in place of the operation's result. It is
	// guarded by server.mu.
	step func(op, when string) error
	// noted, if set, is called after swaps that note a change; guarded by server.mu.
	noted func()
	// locked and unlocked, if set, are told who has a connection's lock.
	locked, unlocked func(name string)
}

func (m *memServer) client() *memStore {
	s := &memStore{server: m, queue: newNoticeQueue(), watched: map[string]bool{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stores = append(m.stores, s)
	return s
}

// SingleServer implements [pleoauth.SingleServer].
func (s *memStore) SingleServer() bool { return s.server.single }

// onStep has f called before and after each operation from now on.
func (s *memStore) onStep(f func(op, when string) error) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.step = f
}

// setAway cuts the replica off the server, or lets it back.
func (s *memStore) setAway(away bool) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.away = away
	if !away {
		s.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
	}
}

// setDeaf has the replica miss all notices, without its noticing, or hear again.
func (s *memStore) setDeaf(deaf bool) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.deaf = deaf
}

func (s *memStore) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.server.mu.Lock()
	step := s.step
	s.server.mu.Unlock()
	if step != nil {
		if err := step(op, "before"); err != nil {
			return err
		}
	}
	err := func() error {
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		if s.away && s.server.single {
			return syscall.ECONNREFUSED
		}
		if s.away {
			return errAway
		}
		return f()
	}()
	if step != nil {
		if err := step(op, "after"); err != nil {
			return err
		}
	}
	return err
}

func (s *memStore) snapshot(name string) pleoauth.Snapshot {
	r := s.server.records[name]
	now := time.Now()
	snap := pleoauth.Snapshot{Record: r.Record, Revision: r.revision, Run: s.server.run, Now: now.Round(0).Add(s.server.skew), ReadAt: now}
	if s.server.master != nil {
		snap.Run += s.server.master(name)
	}
	if r.Mark != nil {
		m := *r.Mark
		snap.Mark = &m
	}
	return snap
}

func (s *memStore) Read(ctx context.Context, name string) (snap pleoauth.Snapshot, err error) {
	err = s.do(ctx, "read", func() error { snap = s.snapshot(name); return nil })
	return snap, err
}

func (s *memStore) Swap(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) (snap pleoauth.Snapshot, err error) {
	err = s.do(ctx, "swap", func() error {
		kept := next.Mark
		unconditional := s.server.swapping != nil && s.server.swapping(&next)
		if !unconditional && (s.server.records[name].revision != old.Revision || s.snapshot(name).Run != old.Run) {
			return pleoauth.ErrConflict
		}
		if lock, ok := o.Lock.(*memLock); ok && !lock.holds() {
			return pleoauth.ErrLockLost
		}
		s.server.before = append(s.server.before, maps.Clone(s.server.records))
		if len(s.server.before) > 4 {
			s.server.before = s.server.before[1:]
		}
		s.note(name, s.server.records[name].Record, next)
		if next.Empty() {
			delete(s.server.records, name)
		} else {
			s.server.records[name] = memRecord{next, randomID()}
		}
		if o.Notice.Kind != "" {
			s.server.publish(o.Notice)
		}
		if s.server.swapped != nil {
			s.server.swapped(name, s.server.before[len(s.server.before)-1][name].Record, next)
		}
		snap = s.snapshot(name)
		snap.Mark = kept // what the writer believes
		if o.ReplicaWait > 0 && s.server.lagging {
			return pleoauth.ErrNotReplicated
		}
		return nil
	})
	return snap, err
}

func (s *memStore) Lock(ctx context.Context, name string, life time.Duration) (lock pleoauth.Lock, err error) {
	err = s.do(ctx, "lock", func() error {
		if l := s.server.locks[name]; time.Now().Before(l.until) {
			return pleoauth.ErrLocked
		}
		token := randomID()
		s.server.locks[name] = memLockState{token, time.Now().Add(life)}
		lock = &memLock{s, name, token}
		if s.locked != nil {
			s.locked(name)
		}
		return nil
	})
	return lock, err
}

type memLock struct {
	store       *memStore
	name, token string
}

func (l *memLock) holds() bool {
	now := l.store.server.locks[l.name]
	return now.token == l.token && time.Now().Before(now.until)
}

func (l *memLock) Renew(ctx context.Context, life time.Duration) error {
	return l.store.do(ctx, "renew", func() error {
		if !l.holds() {
			return pleoauth.ErrLockLost
		}
		l.store.server.locks[l.name] = memLockState{l.token, time.Now().Add(life)}
		return nil
	})
}

func (l *memLock) Release(ctx context.Context) error {
	if l.store.unlocked != nil {
		l.store.unlocked(l.name)
	}
	return l.store.do(context.WithoutCancel(ctx), "release", func() error {
		if l.holds() {
			delete(l.store.server.locks, l.name)
		}
		return nil
	})
}

func (s *memStore) Listen(receive func(pleoauth.Notice)) { s.queue.start(receive) }

func (s *memStore) Watch(ctx context.Context, name string) error {
	return s.do(ctx, "watch", func() error { s.watched[name] = true; return nil })
}

func (s *memStore) Unwatch(name string) {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	delete(s.watched, name)
}

func (s *memStore) Publish(ctx context.Context, n pleoauth.Notice) error {
	return s.do(ctx, "publish", func() error { s.server.publish(n); return nil })
}

func (s *memStore) PutFlow(ctx context.Context, id string, data []byte, life time.Duration) error {
	return s.do(ctx, "put-flow", func() error {
		s.server.flows[id] = memFlow{slices.Clone(data), time.Now().Add(life)}
		return nil
	})
}

func (s *memStore) Flow(ctx context.Context, id string) (data []byte, err error) {
	err = s.do(ctx, "flow", func() error {
		f, ok := s.server.flows[id]
		if !ok || !time.Now().Before(f.until) {
			return pleoauth.ErrNoFlow
		}
		data = slices.Clone(f.data)
		return nil
	})
	return data, err
}

func (s *memStore) TakeFlow(ctx context.Context, id string) (data []byte, err error) {
	err = s.do(ctx, "take-flow", func() error {
		f, ok := s.server.flows[id]
		delete(s.server.flows, id)
		if !ok || !time.Now().Before(f.until) {
			return pleoauth.ErrNoFlow
		}
		data = f.data
		return nil
	})
	return data, err
}

func (s *memStore) List(ctx context.Context, cursor string, limit int) (names []string, next string, err error) {
	err = s.do(ctx, "list", func() error {
		for _, name := range slices.Sorted(maps.Keys(s.server.records)) {
			if name > cursor && s.server.records[name].State != "" {
				names = append(names, name)
			}
		}
		if len(names) > limit {
			names = names[:limit]
			next = names[limit-1]
		}
		return nil
	})
	return names, next, err
}

func (s *memStore) Due(ctx context.Context, limit int) (names []string, err error) {
	err = s.do(ctx, "due", func() error {
		for name, r := range s.server.records {
			if !r.Due.IsZero() && r.Due.Before(time.Now().Add(s.server.skew)) && len(names) < limit {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

func (s *memStore) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", func() error { return nil })
}

func (s *memStore) Close() error {
	s.server.mu.Lock()
	s.server.stores = slices.DeleteFunc(s.server.stores, func(o *memStore) bool { return o == s })
	s.server.mu.Unlock()
	s.queue.stop()
	return nil
}

// noticeQueue hands notices to a listener in order, without making the sender
// wait.
type noticeQueue struct {
	mu      sync.Mutex
	cond    *sync.Cond
	waiting []pleoauth.Notice
	stopped bool
	done    chan struct{}
}

func newNoticeQueue() *noticeQueue {
	q := &noticeQueue{}
	q.cond = sync.NewCond(&q.mu)
	return q
}

func (q *noticeQueue) put(n pleoauth.Notice) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, n)
	q.cond.Signal()
}

func (q *noticeQueue) start(receive func(pleoauth.Notice)) {
	q.done = make(chan struct{})
	go func() {
		defer close(q.done)
		for {
			q.mu.Lock()
			for len(q.waiting) == 0 && !q.stopped {
				q.cond.Wait()
			}
			if q.stopped {
				q.mu.Unlock()
				return
			}
			n := q.waiting[0]
			q.waiting = q.waiting[1:]
			q.mu.Unlock()
			receive(n)
		}
	}()
}

func (q *noticeQueue) stop() {
	q.mu.Lock()
	q.stopped = true
	q.cond.Signal()
	q.mu.Unlock()
	if q.done != nil {
		<-q.done
	}
}

// Interface guards
var (
	_ pleoauth.Store = (*memStore)(nil)
	_ pleoauth.Lock  = (*memLock)(nil)

	_ pleoauth.SingleServer = (*memStore)(nil)
)
