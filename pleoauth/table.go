package pleoauth

import (
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

const tableShards = 64

// table finds connections by name. Readers share no lock and allocate nothing;
// additions are amortised: each shard collects new entries beside a map that
// readers use, and replaces that map when as many new ones have come together
// as a quarter of it.
type table struct {
	seed   maphash.Seed
	shards [tableShards]tableShard
}

type tableShard struct {
	read atomic.Pointer[map[string]*connection]
	mu   sync.Mutex
	more map[string]*connection // not in read yet; guarded by mu
	_    [64]byte               // keeps neighbours off each other's cache line
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].read.Store(&map[string]*connection{})
		t.shards[i].more = map[string]*connection{}
	}
	return t
}

func (t *table) shard(name string) *tableShard {
	return &t.shards[maphash.String(t.seed, name)%tableShards]
}

// get returns the entry of a name, or nil.
func (t *table) get(name string) *connection {
	s := t.shard(name)
	if c := (*s.read.Load())[name]; c != nil {
		return c
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(name)
}

// add returns the entry of a name, made by create if there is none.
func (t *table) add(name string, create func() *connection) *connection {
	s := t.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.find(name); c != nil {
		return c
	}
	c := create()
	s.more[name] = c
	if read := *s.read.Load(); len(s.more) > len(read)/4 {
		merged := make(map[string]*connection, len(read)+len(s.more))
		for _, m := range []map[string]*connection{read, s.more} {
			maps.Copy(merged, m)
		}
		s.read.Store(&merged)
		s.more = map[string]*connection{}
	}
	return c
}

// remove takes out every entry that drop says to.
func (t *table) remove(drop func(*connection) bool) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		left := map[string]*connection{}
		before := len(*s.read.Load()) + len(s.more)
		for _, m := range []map[string]*connection{*s.read.Load(), s.more} {
			for name, c := range m {
				if !drop(c) {
					left[name] = c
				}
			}
		}
		if len(left) < before {
			s.read.Store(&left)
			s.more = map[string]*connection{}
		}
		s.mu.Unlock()
	}
}

// fewEntries is how many entries are visited in the order of their names, so that a
// simulated schedule plays again as it was.
const fewEntries = 64

// each calls f with every entry.
func (t *table) each(f func(*connection)) {
	var all []*connection
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, m := range []map[string]*connection{*s.read.Load(), s.more} {
			for _, c := range m {
				all = append(all, c)
			}
		}
		s.mu.Unlock()
	}
	if len(all) <= fewEntries {
		slices.SortFunc(all, func(a, b *connection) int { return cmp.Compare(a.name, b.name) })
	}
	for _, c := range all {
		f(c)
	}
}

func (s *tableShard) find(name string) *connection {
	if c := (*s.read.Load())[name]; c != nil {
		return c
	}
	return s.more[name]
}
