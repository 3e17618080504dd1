package pleoauth

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"
)

// refusalGap is how far refusals may lie apart. In a longer gap the server may
// have come back, been found by a replica that asked Pleo and took a mark, lost that
// mark, and gone again.
const refusalGap = 10 * lookEvery

// runs is what this process knows of the runs of a store that is one server at
// one address. There the sight of one run proves that those before it are over,
// and that nobody can have written a mark that was forgotten since. With
// Sentinel and Cluster a server that was replaced may go on for a while, and
// nothing is known that a mark itself does not tell.
type runs struct {
	single bool

	mu    sync.Mutex
	now   string
	since time.Time // when the run before it was known to be over
	// broken is set once the connection that notices came on has broken, too: an
	// address may refuse new connections while those that exist go on.
	broken  bool
	refused struct{ first, last time.Time }
}

// lost notes that the connection to the server has broken.
func (r *runs) lost() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken = true
}

// refusal notes that the server refuses connections: if it has broken ours as
// well, its process is gone.
func (r *runs) refusal(err error) {
	if !r.single || !errors.Is(err, syscall.ECONNREFUSED) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.broken {
		return
	}
	now := time.Now()
	if now.Sub(r.refused.last) > refusalGap {
		r.refused.first = now
	}
	r.refused.last = now
}

// seen notes the run that has answered.
func (r *runs) seen(run string) {
	if !r.single {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	now, refused := time.Now(), r.refused
	r.broken, r.refused.first, r.refused.last = false, time.Time{}, time.Time{} // an outage before this answer says nothing of a later one
	if run == r.now {
		return
	}
	if r.now, r.since = run, now; now.Sub(refused.last) <= refusalGap {
		r.since = refused.first
	}
}

// earlierOver returns since when the runs before the given one are known to be
// over, or unknown.
func (r *runs) earlierOver(run string, unknown time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if run != r.now {
		return unknown
	}
	return r.since
}

// noteRun notices that the server which has a connection's record has been
// restarted, or that another has taken its place, and has every grant that it
// had compared with the record: spread over time, so that nothing stampedes.
func (s *Source) noteRun(name, run string) {
	s.runs.seen(run)
	c := s.conns.get(name)
	if c == nil {
		return
	}
	v := c.view.Load()
	if v == nil || v.run == "" || v.run == run {
		return
	}
	before := v.run
	if _, known := s.replaced.LoadOrStore(before+" "+run, nil); known {
		return
	}
	s.logger().Warn("the store has been restarted or replaced: its records are compared with what this process knows")
	select {
	case s.restarted <- struct{}{}:
	default: // a check is due already
	}
	s.goWork(func() {
		var all []*connection
		s.conns.each(func(c *connection) {
			if v := c.view.Load(); v != nil && v.pair != nil && v.run == before {
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

// storeIsBack lets flights begin again that were held back because the store was
// away.
func (s *Source) storeIsBack() {
	s.conns.each(func(c *connection) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if errors.Is(c.failing.err, ErrStoreUnavailable) {
			c.failing.err, c.failing.times = nil, 0
			c.rests.Store(0)
		}
	})
}

// awaitStore waits a moment for a store that is being looked for, and reports
// whether it was: one that is back for another replica will be for this one, and
// that one's refresh has killed the token that calls have here.
func (s *Source) awaitStore(ctx context.Context) bool {
	if !s.looking.Load() {
		return false
	}
	until := time.NewTimer(2 * lookEvery)
	defer until.Stop()
	look := time.NewTicker(lookEvery / 8)
	defer look.Stop()
	for s.looking.Load() {
		select {
		case <-look.C:
		case <-until.C:
			return true
		case <-ctx.Done():
			return true
		}
	}
	return true
}

// lookEvery bounds the wait between looks at a store whose subscription broke.
const lookEvery = 200 * time.Millisecond

// lookOut asks a store whose subscription broke until it answers, so that its
// end and its new run are known when the next refresh comes to ask for them.
func (s *Source) lookOut() {
	if !s.looking.CompareAndSwap(false, true) {
		return
	}
	if !s.goWork(func() {
		defer s.looking.Store(false)
		var name string
		s.conns.each(func(c *connection) {
			if v := c.view.Load(); v != nil && v.pair != nil {
				name = c.name
			}
		})
		for wait := lookEvery / 16; name != "" && !s.closing(); wait = min(2*wait, lookEvery) {
			_, err := s.read(name)
			if err == nil || errors.Is(err, ErrForeignRecord) || errors.Is(err, ErrRecordUnreadable) {
				s.storeIsBack()
				return
			}
			s.pause(wait, nil)
		}
	}) {
		s.looking.Store(false)
	}
}
