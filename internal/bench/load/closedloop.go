//go:build linux

package load

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Names returns the connection that the next call is for, "" for none. Each
// caller has its own: it need not be safe for concurrent use.
type Names func() string

// Target is whom calls are made to.
type Target struct {
	Request *Request
	Names   func() Names
	Conns   []*Conn
	// CPU returns the processor time that the server has used so far.
	CPU func() time.Duration
}

// Measured is what a load has come to.
type Measured struct {
	Took time.Duration
	CPU  time.Duration
	// Latencies are those of the calls that were answered 200, in no order.
	Latencies []time.Duration
	Failed    int
	// Err is one of the failed calls' errors.
	Err error
}

const (
	warming int32 = iota
	measuring
	over
)

// caller makes calls over one connection.
type caller struct {
	latencies []time.Duration
	failed    int
	err       error
}

func (c *caller) note(took time.Duration, err error) {
	if err != nil {
		c.failed, c.err = c.failed+1, err
		return
	}
	c.latencies = append(c.latencies, took)
}

// Closed makes calls over the target's first concurrency connections, each one
// when the one before it is answered, for warm and then for length; only the
// latter is measured.
func Closed(t *Target, concurrency int, warm, length time.Duration) Measured {
	var phase atomic.Int32
	callers := make([]caller, concurrency)
	var group sync.WaitGroup
	for i := range callers {
		names := t.Names()
		group.Go(func() {
			for phase.Load() != over {
				began := time.Now()
				err := t.Conns[i].Call(t.Request, names())
				if phase.Load() == measuring {
					callers[i].note(time.Since(began), err)
				}
				if err != nil {
					time.Sleep(time.Millisecond) // not a race of failures
				}
			}
		})
	}
	time.Sleep(warm)
	cpu, began := t.CPU(), time.Now()
	phase.Store(measuring)
	time.Sleep(length)
	phase.Store(over)
	m := Measured{Took: time.Since(began), CPU: t.CPU() - cpu}
	group.Wait()
	return m.sum(callers)
}

func (m Measured) sum(callers []caller) Measured {
	for _, c := range callers {
		m.Latencies = append(m.Latencies, c.latencies...)
		m.Failed += c.failed
		m.Err = errors.Join(m.Err, c.err)
		if c.err != nil {
			m.Err = c.err
		}
	}
	return m
}
