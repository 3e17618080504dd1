package pleoauth

import (
	"sync"
	"time"
)

const (
	// idleAfter is how long a connection that no call uses stays in memory.
	idleAfter = 15 * time.Minute
	// housekeepingEvery is how often such connections are looked for.
	housekeepingEvery = time.Minute
	// maxAbsent bounds the names without a record that are remembered.
	maxAbsent = 4096
)

// housekeeping forgets connections that are not used, with their
// subscriptions. What this process has stored itself it keeps: it may be the
// only one to know it if the store forgets.
func (s *Source) housekeeping() {
	for !s.closing() {
		s.pause(housekeepingEvery, nil)
		if s.closing() {
			return
		}
		s.readSpill()
		limit := time.Now().Add(-idleAfter)
		// A new one may be about to be used, or be authorised.
		s.forget(func(c *connection) bool { return !c.usedSince(limit) && c.made.Before(limit) })
	}
}

func (s *Source) forget(unused func(*connection) bool) {
	s.conns.remove(func(c *connection) bool {
		if !unused(c) {
			return false
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if v := c.view.Load(); v != nil && v.version != "" && c.silence.version == v.version {
			return false // it is waited for Pleo's word, or for a newer grant
		}
		if c.exchanging > 0 || c.flight != nil || c.loading != nil || c.asking != nil || c.held != nil || c.stored || c.retrying || c.pinning || c.sent != nil && (c.sent.hangs() || !c.sent.over()) {
			return false
		}
		if c.timer != nil {
			c.timer.Stop()
		}
		s.store.Unwatch(c.name)
		return true
	})
}

// absentNames remembers, in order, the entries of names that have no record, or
// may have none: it could not be read. Without a bound, a caller who tries names
// could fill the memory.
type absentNames struct {
	mu    sync.Mutex
	names []*connection
}

// absentName notes that this process has seen no record of a name. Of too many
// such names, the half that was noted longest ago is forgotten.
func (s *Source) absentName(c *connection) {
	s.absent.mu.Lock()
	defer s.absent.mu.Unlock()
	s.absent.names = append(s.absent.names, c)
	if len(s.absent.names) <= maxAbsent {
		return
	}
	half := s.absent.names[:maxAbsent/2]
	drop := make(map[*connection]bool, len(half))
	for _, old := range half {
		if v := old.view.Load(); v == nil || v.state == "" {
			drop[old] = true
		}
	}
	s.absent.names = append([]*connection(nil), s.absent.names[maxAbsent/2:]...)
	s.forget(func(c *connection) bool { return drop[c] })
}
