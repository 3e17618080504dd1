package pleoauth_test

import (
	"context"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// memStore is one replica's way to the server.
type memStore struct {
	mu      *sync.Mutex // that of all servers; guards what follows
	server  *memServer
	queue   *noticeQueue
	watched map[string]bool
	away    bool
	deaf    bool // gets no notices
	// hangsUntil is until when the server answers nothing; stubborn says that a
	// command then does not even end with its context, and is carried out late.
	hangsUntil time.Time
	stubborn   bool
	tokens     map[string]string // of the locks that were taken last

	// step, if set, is called before and after each operation has happened at
	// the server. An error is returned in place of the operation's result.
	step func(op, when string) error
	// noted, if set, is called after swaps that note a change.
	noted func()
	// locked and unlocked, if set, are told who has a connection's lock.
	locked, unlocked func(name string)
}

func (m *memServer) client() *memStore {
	s := &memStore{mu: m.mu, server: m, queue: newNoticeQueue(), watched: map[string]bool{}, tokens: map[string]string{}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stores = append(m.stores, s)
	return s
}

// SingleServer implements [pleoauth.SingleServer].
func (s *memStore) SingleServer() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.server.single
}

// onStep has f called before and after each operation from now on.
func (s *memStore) onStep(f func(op, when string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step = f
}

// setAway cuts the replica off the server, or lets it back.
func (s *memStore) setAway(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
	if !away {
		s.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
	}
}

// setDeaf has the replica miss all notices, without its noticing, or hear again.
func (s *memStore) setDeaf(deaf bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = deaf
}

func (s *memStore) do(ctx context.Context, op string, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	step := s.step
	s.mu.Unlock()
	if step != nil {
		if err := step(op, "before"); err != nil {
			return err
		}
	}
	if err := s.hang(ctx); err != nil {
		return err
	}
	err := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if slices.Contains([]string{"swap", "lock", "renew", "put-flow"}, op) && time.Now().Before(s.server.readOnly) {
			return errReadOnly
		}
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

// hangs has the server answer nothing for a while.
func (s *memStore) hangs(length time.Duration, stubborn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangsUntil, s.stubborn = time.Now().Add(length), stubborn
}

// hang waits for a server that answers nothing, or until the command is given up.
func (s *memStore) hang(ctx context.Context) error {
	s.mu.Lock()
	rest, stubborn := time.Until(s.hangsUntil), s.stubborn
	s.mu.Unlock()
	switch {
	case rest <= 0:
		return nil
	case stubborn:
		time.Sleep(rest)
		return nil
	}
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
		if o.ReplicaWait > 0 && (s.server.lagging || s.server.losesReplicas()) {
			return pleoauth.ErrNotReplicated
		}
		snap.Alone = o.ReplicaWait > 0 && s.server.alone()
		return nil
	})
	return snap, err
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
		names = append(names, s.server.strayDue[:min(limit, len(s.server.strayDue))]...)
		for _, name := range slices.Sorted(maps.Keys(s.server.records)) { // so that a schedule can be played again
			r := s.server.records[name]
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
	s.mu.Lock()
	s.server.stores = slices.DeleteFunc(s.server.stores, func(o *memStore) bool { return o == s })
	s.mu.Unlock()
	s.queue.stop()
	return nil
}

// Interface guards
var (
	_ pleoauth.Store = (*memStore)(nil)
	_ pleoauth.Lock  = (*memLock)(nil)

	_ pleoauth.SingleServer = (*memStore)(nil)
)
