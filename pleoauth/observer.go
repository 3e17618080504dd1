package pleoauth

import "time"

// Observer is told what a source does, in values from fixed sets, durations and
// counts: never a connection's name, a token or a path. Its functions are
// called by many goroutines at once, some while a call waits, and must not
// block. What is nil is not told; the zero value is told nothing.
type Observer struct {
	// Hit: a call had its answer from memory. This is the hot path: it must
	// cost next to nothing, and callers must not contend for anything.
	Hit func()
	// Missed: a call had to wait, for the store or for a refresh.
	Missed func(MissCause)
	// Refreshed: a refresh has come to an end, as far as its sender can tell.
	// The duration counts from the moment before its mark was asked for.
	Refreshed func(RefreshResult, RefreshAfter, time.Duration)
	// Settled: Pleo was asked what has become of a refresh whose answer was
	// lost, or such a refresh was given up.
	Settled func(SettleResult)
	// LockWaited: how long it took to get a connection's lock, or to give up.
	LockWaited func(time.Duration)
	// GateWaited: how long a call waited while its token was being refreshed.
	GateWaited func(time.Duration)
	// Refused: the API answered a call with 401, and this is why.
	Refused func(RefusalCause)
	// StoreFailed: the store did not do what it was asked, or did not answer.
	StoreFailed func(StoreOperation)
	// Authorised: a user's way through Pleo has ended.
	Authorised func(AuthorisationResult)
	// Swept: a sweep for connections that nobody uses is over. The number is
	// that of connections which it found due; it is 0 if the sweep failed.
	Swept func(SweepResult, int)
}

// WithObserver sets who is told what the source does. Default: nobody.
func WithObserver(o Observer) Option { return func(set *options) { set.observer = o } }

// SetObserver replaces the observer while the source goes on.
func (s *Source) SetObserver(o Observer) { s.observer.Store(&o) }

// Stats is what a source has in this process's memory.
type Stats struct {
	// Connections counts them by state; names without a record have the state "".
	Connections map[State]int
	// OldestGrant is the age of the oldest grant that is known here: in memory,
	// or met by a sweep in the last quarter of an hour and not renewed by it.
	// As sweeps find whatever is older than keep_alive, in the store and not in
	// memory alone, a grant that nobody renews shows here in one of the
	// replicas. Zero: there is none.
	OldestGrant time.Duration
	// Unsaved counts grants that are held because the store has not taken them.
	Unsaved int64
	// IntrospectionUnusable counts connections whose refresh tokens Pleo's
	// introspection calls inactive although they were just issued.
	IntrospectionUnusable int
	// Alone reports whether the store, which has had replicas, has none in step.
	Alone bool
	// Store says what the store fails for at the moment: nothing, mostly.
	Store []StoreReason
	// Waiting counts requests to the token and introspection endpoints that wait
	// for their turn. Paused reports whether Pleo's 429 holds all of them.
	Waiting int
	Paused  bool
}

// Stats looks through memory: it asks neither the store nor Pleo.
func (s *Source) Stats() Stats {
	now := time.Now()
	st := Stats{Connections: map[State]int{}, OldestGrant: s.oldest.age(now), Unsaved: s.unsaved.Load(), Alone: s.alone.Load(), Store: s.trouble.reasons()}
	st.Waiting, st.Paused = s.pace.Waiting(), s.pace.Pause() > 0
	s.conns.each(func(c *connection) {
		v := c.view.Load()
		if v == nil {
			return // it is being read for the first time
		}
		st.Connections[v.state]++
		if v.pair != nil && unusable(v.pair.introspection) != "" {
			st.IntrospectionUnusable++
		}
		if v.pair != nil {
			st.OldestGrant = max(st.OldestGrant, now.Sub(v.pair.obtained))
		}
	})
	return st
}
