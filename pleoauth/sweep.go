package pleoauth

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// sweepEvery is how often a replica looks for connections that are due.
	sweepEvery = 30 * time.Second
	// sweepSize bounds how many it takes on at a time, so that many that fall
	// due together are spread over time.
	sweepSize = 64
	// manyStuck bounds how many names are remembered that nothing could be done
	// about.
	manyStuck = 4096
	// sweepAtOnce is how many of them are under way at the same time.
	sweepAtOnce = 8
	// tombstoneLife is how long a disconnected connection is remembered.
	tombstoneLife = 90 * 24 * time.Hour
)

// sweeping looks after connections that no call looks after: grants that grow
// old because nobody uses them, marks that a crash has left, tombstones that
// have served. Whichever replica comes first does it.
func (s *Source) sweeping() {
	stuck := map[string]bool{}
	for {
		s.pause(sweepEvery/2+s.spread(sweepEvery), nil)
		if s.closing() {
			return
		}
		s.sweep(stuck)
	}
}

// sweep looks after some of the connections that are due: first those that are
// not among stuck, in which it keeps the names that have no record or none that
// can be read. They may stay due, and others must not wait behind them.
func (s *Source) sweep(stuck map[string]bool) {
	names, err := s.due(stuck)
	if err != nil {
		s.swept(SweepFailed, 0)
		s.logger().Debug("connections that are due could not be listed", "error", err)
		return
	}
	loads := make([]*call, len(names))
	for i, name := range names { // all first: the life of a mark counts from when it is seen
		loads[i] = s.load(s.connection(name), true)
	}
	var under sync.WaitGroup
	turns := make(chan struct{}, sweepAtOnce)
	for i, name := range names {
		select {
		case <-loads[i].done:
		case <-s.stop:
			return
		}
		c := s.connection(name)
		if v := c.view.Load(); loads[i].err == nil && v != nil && v.state != "" {
			delete(stuck, name)
		} else if len(stuck) < manyStuck {
			stuck[name] = true
		}
		if errors.Is(loads[i].err, ErrSealed) {
			s.logger().Error("a grant that is due cannot be opened: it is left as it is", "connection", name, "error", loads[i].err)
			s.putOff(c, "") // for an hour: others wait for their turn
		}
		if loads[i].err != nil {
			continue
		}
		turns <- struct{}{}
		under.Go(func() {
			s.sweepOne(c)
			<-turns
		})
	}
	under.Wait()
	s.swept(SweepDone, len(names))
}

// due returns the names whose turn it is.
func (s *Source) due(stuck map[string]bool) ([]string, error) {
	ctx, cancel := s.command()
	defer cancel()
	limit := sweepSize + len(stuck)
	all, err := s.store.Due(ctx, limit)
	s.storeAnswered(StoreDue, err)
	if err != nil {
		return nil, err
	}
	var names, later []string
	for _, name := range all {
		if stuck[name] {
			later = append(later, name)
		} else {
			names = append(names, name)
		}
	}
	if len(all) < limit { // that is all of them: the others are due no more
		maps.DeleteFunc(stuck, func(name string, _ bool) bool { return !slices.Contains(later, name) })
	}
	names = append(names, later...)
	return names[:min(len(names), sweepSize)], nil
}

func (s *Source) sweepOne(c *connection) {
	defer s.oldest.leave(c)
	v := c.view.Load()
	if v == nil {
		return
	}
	if v.pair != nil && v.pair.grant.NoRefreshToken && v.usable(time.Now()) {
		return // what is settled now may end it before its time
	}
	old := v.pair != nil && time.Since(v.pair.obtained) > s.config().KeepAlive*9/10-time.Minute
	if v.state == StateConnected && (old || v.marked) {
		f := s.fly(c, v.version, false)
		s.pause(s.times().mark+s.config().RefreshTimeout, f.done)
		return
	}
	s.putOff(c, v.version)
}

// putOff has a connection that needs nothing now, or that cannot be helped, looked
// at later. version is the one that was looked at, or "" for any.
func (s *Source) putOff(c *connection, version string) {
	snap, err := s.read(c.name)
	if err != nil {
		return
	}
	if version == "" {
		version = snap.Version
	}
	if m := snap.Marked(); snap.State == "" && m != nil && s.restOf(c, snap, m) > 0 {
		return // the mark alone is all that keeps the next consent from going too early
	}
	if _, err := s.apply(c.name, snap, s.writeSwept(version)); err != nil && !errors.Is(err, errRefused) {
		s.logger().Debug("a connection could not be put off", "connection", c.name, "error", err)
	}
}

// writeSwept (W9) puts off a connection that needs nothing now, and removes a
// tombstone whose time is over.
func (s *Source) writeSwept(version string) write {
	return func(snap Snapshot) (Record, error) {
		r := snap.Record
		switch {
		case r.Version != version:
			return r, errRefused
		case r.Due.IsZero() || snap.Remaining(r.Due) > 0: // it is not: to write it again mends the store's index
			return r, nil
		case r.State == StateDisconnected, r.State == "": // a tombstone, or the mark of an authorisation that came to nothing
			return Record{}, nil
		case r.State == StateConnected:
			r.Due = r.Obtained.Add(s.keepAliveIn())
			if soon := snap.Clock().Add(time.Hour); r.Due.Before(soon) {
				r.Due = soon
			}
		default:
			r.Due = time.Time{}
		}
		return r, nil
	}
}
