package pleoauth

import (
	"sync"
	"sync/atomic"
	"time"
)

// connection is what this process keeps of one connection that it uses.
type connection struct {
	name string
	made time.Time

	view atomic.Pointer[view]
	// tried is when the record could last not be read, in Unix nanoseconds.
	tried atomic.Int64
	// rests is until when no flight is started, in Unix nanoseconds.
	rests atomic.Int64
	// flying is set while a flight is under way, for calls that need not wait.
	flying atomic.Bool
	gate   atomic.Pointer[gate]
	// used is when a call last asked for it, in Unix seconds.
	used atomic.Int64

	mu      sync.Mutex
	flight  *flight
	loading *call
	again   bool // the record has to be read once more
	// told is set while a notice waits for the record to be read, retrying
	// while that is tried again, missed counts failures.
	told, retrying bool
	missed         int
	asking         *call // introspection of a refused token
	unjudged       int   // how often in a row Pleo did not say whether one lives
	watched        bool  // subscribed to its notices
	verdict        verdict
	gated          string // the last version that the gate was raised for
	held           *heldPair
	sent           *sentRequest // the last one to the token endpoint
	stored         bool         // the grant in view is one that this process has stored
	exchanging     int          // authorisations that are being completed
	timer          *time.Timer
	// failing holds back flights in this process after one that failed; the
	// record's own back-off holds for all.
	failing struct {
		err   error
		until time.Time
		times int
	}
	// mark is the mark that was last seen on the record, and since when.
	mark struct {
		nonce string
		since time.Time
	}
	// backOff is the back-off that was last seen on the record, and since when.
	backOff struct{ until, since time.Time }
	pinning bool         // whose company it is, is being found out
	unnamed atomic.Int64 // when Pleo last did not say it at a consent, in Unix seconds
	// judged is what this process has found out about introspection.
	judged judgement
	// silence is for how long Pleo has not spoken about the token.
	silence silence
	// changed is closed whenever the view may have changed; nil: nobody waits.
	changed chan struct{}
}

// call is work that several callers wait for together.
type call struct {
	done chan struct{}
	err  error
	// pleo is set once it is Pleo's answer that is waited for, and not the store's.
	pleo atomic.Bool
}

func (s *Source) connection(name string) *connection {
	return s.conns.add(name, func() *connection {
		return &connection{name: name, made: time.Now()}
	})
}

// exchanges returns a connection that stays in memory until done is called: what
// an exchange brings must be found there.
func (s *Source) exchanges(name string) (c *connection, done func()) {
	for {
		c = s.connection(name)
		c.mu.Lock()
		c.exchanging++
		c.mu.Unlock()
		done = func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.exchanging--
		}
		if s.conns.get(name) == c {
			return c, done
		}
		done() // it was forgotten in between
	}
}

// touch notes that a call uses the connection. It writes rarely: the line of
// memory that all calls read should stay in every core's cache.
func (c *connection) touch(now time.Time) {
	if seconds := now.Unix(); seconds-c.used.Load() > 1 {
		c.used.Store(seconds)
	}
}

// usedSince reports whether a call asked for the connection after t.
func (c *connection) usedSince(t time.Time) bool { return c.used.Load() >= t.Unix() }

// triedSince reports whether the record could not be read at t or later.
func (c *connection) triedSince(t time.Time) bool { return c.tried.Load() >= t.UnixNano() }

// wake tells those who wait that something has happened.
func (c *connection) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wakeLocked()
}

func (c *connection) wakeLocked() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// news returns a channel that is closed at the next wake.
func (c *connection) news() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.changed == nil {
		c.changed = make(chan struct{})
	}
	return c.changed
}

// left reports whether the connection has left the given version behind.
func (c *connection) left(version string) bool {
	v := c.view.Load()
	return v != nil && v.version != version
}

// markSince returns since when this process has known the mark with the given
// nonce: the first time it saw it, or the moment before it wrote it.
func (c *connection) markSince(nonce string, now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mark.nonce != nonce {
		c.mark.nonce, c.mark.since = nonce, now
	}
	return c.mark.since
}

// markSeen returns since when this process has known the mark with the given nonce;
// now, if it has not.
func (c *connection) markSeen(nonce string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mark.nonce != nonce {
		return time.Now()
	}
	return c.mark.since
}

// backOffRest returns how long the record's back-off still holds: until its end
// on the store's clock, or until this process has known it for as long as it was
// to last.
func (c *connection) backOffRest(snap Snapshot) time.Duration {
	if snap.NotBefore.IsZero() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.backOff.until.Equal(snap.NotBefore) {
		c.backOff.until, c.backOff.since = snap.NotBefore, snap.ReadAt
	}
	return min(snap.Remaining(snap.NotBefore), snap.NotBeforeWait-time.Since(c.backOff.since))
}

func (c *connection) stopTimer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timer != nil {
		c.timer.Stop()
	}
}

// keep notes that this process stored the grant in view: it is remembered for
// as long as it is the newest, in case the store forgets it.
func (c *connection) keep() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stored = true
}
