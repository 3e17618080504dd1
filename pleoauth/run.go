package pleoauth

import (
	"errors"
	"syscall"
	"time"
)

// lostRun says since when the run before the present one is known to be over.
type lostRun struct {
	now string
	at  time.Time
}

// refusals says since when connections have been refused, and when last.
type refusals struct{ first, last time.Time }

// refusalGap is how far refusals may lie apart. In a longer gap the server may
// have come back, taken marks, and gone again.
const refusalGap = 2 * time.Second

// noteRefused notes when a store that is one server began to refuse
// connections: from then on that server's process is gone, and nobody can have
// written a mark that it forgot. So a mark for what it forgot counts from there,
// and an outage that was longer costs no further wait.
func (s *Source) noteRefused(err error) {
	if single, ok := s.store.(SingleServer); !ok || !single.SingleServer() {
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		now := time.Now()
		before, next := s.refused.Load(), &refusals{first: now, last: now}
		if before != nil && now.Sub(before.last) <= refusalGap {
			next.first = before.first
		}
		s.refused.CompareAndSwap(before, next)
	}
}

// noteRun notices that the store has been restarted, or another one has taken
// its place, and has every grant that this process knows compared with the
// record: spread over time, so that nothing stampedes.
func (s *Source) noteRun(run string) {
	before := s.run.Swap(&run)
	if refused := s.refused.Swap(nil); refused != nil && time.Since(refused.last) <= refusalGap && before != nil && *before != run {
		s.lostRun.Store(&lostRun{now: run, at: refused.first})
	}
	if before == nil || *before == run || *before == "" {
		return
	}
	s.logger().Warn("the store has been restarted or replaced: its records are compared with what this process knows")
	s.goWork(func() {
		var all []*connection
		s.conns.each(func(c *connection) {
			if v := c.view.Load(); v != nil && v.pair != nil {
				all = append(all, c)
			}
		})
		for _, c := range all {
			s.load(c, true)
			s.pause(s.times().mark/time.Duration(len(all)), nil)
			if s.closing() {
				return
			}
		}
	})
}
