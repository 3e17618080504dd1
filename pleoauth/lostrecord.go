package pleoauth

import (
	"sync"
	"time"
)

const (
	// lastLookLimit is how long a process that ends begins to look at records.
	lastLookLimit = 2 * time.Second
	// lastLooksAtOnce is how many it reads at a time.
	lastLooksAtOnce = 16
)

// leaveWhatIsLost reads the records of the grants that this process has stored, when
// nothing else is under way any more. A record may have been deleted by hand, or an
// older one written back: the process may then be the last one to have the living
// grant. That grant goes onto the disk and back into the store.
func (s *Source) leaveWhatIsLost() {
	until := time.Now().Add(lastLookLimit)
	var looks sync.WaitGroup
	turns := make(chan struct{}, lastLooksAtOnce)
	s.conns.each(func(c *connection) {
		p := c.lastStored()
		if p == nil {
			return
		}
		turns <- struct{}{}
		if time.Now().After(until) {
			<-turns
			return
		}
		looks.Go(func() {
			defer func() { <-turns }()
			s.leaveIfLost(c, p)
		})
	})
	looks.Wait()
}

func (s *Source) leaveIfLost(c *connection, p *pair) {
	snap, err := s.read(c.name)
	if err != nil || !c.view.Load().outranks(snap) {
		return // a store that is away has the grant
	}
	h := &heldPair{pair: p, unanswered: true}
	s.unsavedPair(c, h)
	s.trySave(c, h)
	s.unsaved.Add(-1)
}

// lastStored returns the grant that this process has stored last for the connection, if
// it is the newest and not known to be dead; or nil.
func (c *connection) lastStored() *pair {
	c.mu.Lock()
	defer c.mu.Unlock()
	v := c.view.Load()
	if !c.stored || c.held != nil || v == nil || v.pair == nil || v.dead {
		return nil
	}
	return v.pair
}
