package pleoauth

import (
	"errors"
	"sync"
	"time"
)

// ErrTooManyFlows is returned when this process has begun ten thousand
// authorisations within ten minutes, so that another could help to fill the
// store. It passes as they get older.
var ErrTooManyFlows = errors.New("too many authorisations were begun")

// maxFlowStarts bounds the authorisations that a process begins within the life
// of a flow. Whoever reaches the start of an authorisation may begin one, and
// each takes up to a few kilobytes of the store until it expires: without a
// bound they could fill it faster than they go, and grants would find no room.
const maxFlowStarts = 10_000

// flowStarts counts authorisations by the minute in which they were begun.
type flowStarts struct {
	mu      sync.Mutex
	since   time.Time
	minutes [flowLife/time.Minute + 1]struct{ minute, count int }
}

// begin counts one more, and reports whether there is room for it.
func (f *flowStarts) begin(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.since.IsZero() {
		f.since = now
	}
	minute := int(now.Sub(f.since) / time.Minute)
	total := 0
	for _, m := range f.minutes {
		if minute-m.minute < len(f.minutes) {
			total += m.count
		}
	}
	if total >= maxFlowStarts {
		return false
	}
	this := &f.minutes[minute%len(f.minutes)]
	if this.minute != minute {
		this.minute, this.count = minute, 0
	}
	this.count++
	return true
}
