package pleoauth_test

import (
	"maps"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// dropsReplicas is how long after a split a master still counts the replicas that
// it does not hear of any more: Redis' repl-timeout.
const dropsReplicas = time.Minute

// split cuts the server off from its replicas, which promote another: that one is
// m from here on, as after a failover that lost the last writes. The stores that
// stay go on with the old master, which split returns: it has all that m had,
// locks and flows too, and is in the same run.
func (m *memServer) split(stay []*memStore, writes int) (old *memServer) {
	m.mu.Lock()
	old = &memServer{
		mu: m.mu, run: m.run, cutOff: time.Now(), stores: slices.Clone(stay), before: slices.Clone(m.before),
		records: maps.Clone(m.records), locks: maps.Clone(m.locks), next: maps.Clone(m.next), jumped: maps.Clone(m.jumped), flows: maps.Clone(m.flows), changes: map[string]*memChange{},
		swapping: m.swapping, swapped: m.swapped, sameRun: m.sameRun, skew: m.skew,
	}
	for name, c := range m.changes {
		same := *c
		old.changes[name] = &same
	}
	for _, s := range stay {
		s.server = old
	}
	m.stores = slices.DeleteFunc(m.stores, func(s *memStore) bool { return slices.Contains(stay, s) })
	m.mu.Unlock()
	m.failover(writes)
	return old
}

// rejoin ends a split: what the old master has is thrown away, and its stores
// find m in its place.
func (m *memServer) rejoin(old *memServer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range old.stores {
		s.server = m
		s.queue.put(pleoauth.Notice{Kind: pleoauth.NoticeLost})
	}
	m.stores = append(m.stores, old.stores...)
	old.stores = nil
}

// losesReplicas reports whether the server's replicas are gone, and it does not
// know that yet: they confirm nothing.
func (m *memServer) losesReplicas() bool {
	return !m.cutOff.IsZero() && time.Since(m.cutOff) < dropsReplicas
}

// alone reports whether the server knows that no replica is in step.
func (m *memServer) alone() bool {
	return !m.cutOff.IsZero() && time.Since(m.cutOff) >= dropsReplicas
}
