package webhook

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// atOnce bounds the changes that a process looks at, and so the messages that
	// it sends, at the same time.
	atOnce = 8
	// command bounds one exchange with the store.
	command = 5 * time.Second
	// late is how much later than due a change is looked for: a moment before its
	// time there would be nothing.
	late = 50 * time.Millisecond
	// maxTimers bounds what is remembered to be due. The rest is found by polling.
	maxTimers = 1024
)

// Store is what a worker needs of a store.
type Store interface {
	pleoauth.Outbox
	Read(ctx context.Context, name string) (pleoauth.Snapshot, error)
}

// Result says what became of an attempt to post a message.
type Result string

// The results.
const (
	// Delivered: the receiver answered 2xx.
	Delivered Result = "delivered"
	// Failed: it did not, and will be asked again.
	Failed Result = "failed"
	// Gone: the receiver answered 410, and will not be asked again for this one.
	Gone Result = "gone"
	// GivenUp: the last attempt failed, too.
	GivenUp Result = "given_up"
)

// Results returns all results.
func Results() []Result { return []Result{Delivered, Failed, Gone, GivenUp} }

// Worker tells what becomes of the connections in one store. It is safe for
// concurrent use.
type Worker struct {
	id      pleoauth.Identity
	store   Store
	observe func(Kind, Result)

	config atomic.Pointer[configured]
	wake   chan struct{}
	// busy counts the changes that are being looked at, timers what is known to
	// be due later. more is set while there may be more to claim than was free.
	busy, timers atomic.Int32
	more         atomic.Bool
	looking      sync.WaitGroup

	mu            sync.Mutex
	begun, closed bool

	stop    chan struct{}      // closed when Close begins
	ended   chan struct{}      // closed when the loop has ended
	sending context.Context    //nolint:containedctx // it is the worker's own, and ends with it
	cut     context.CancelFunc // ends what is being sent
}

// configured is a configuration and what is made of it.
type configured struct {
	Config
	sender *sender // nil: there is no receiver
}

// New returns a worker that does nothing yet. observe, if not nil, is told the
// result of every attempt; it must not block. The worker does not own the store.
func New(id pleoauth.Identity, store Store, observe func(Kind, Result)) *Worker {
	if observe == nil {
		observe = func(Kind, Result) {}
	}
	sending, cut := context.WithCancel(context.Background())
	return &Worker{
		id: id, store: store, observe: observe,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		sending: sending, cut: cut,
	}
}

// Note has the store note changes, or not any more.
func (w *Worker) Note(on bool) {
	if !on {
		w.store.NoteChanges(nil)
		return
	}
	w.store.NoteChanges(w.poke)
}

// Configure has the worker go on with c, and begin if it has not; with nil it
// tells nothing until it is configured again. An error wraps [ErrConfig].
func (w *Worker) Configure(c *Config) error {
	var next *configured
	if c != nil {
		if err := c.Validate(); err != nil {
			return err
		}
		next = &configured{Config: c.withDefaults()}
		if c.URL != "" {
			var err error
			if next.sender, err = newSender(next.Config); err != nil {
				return err
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	if old := w.config.Swap(next); old != nil && old.sender != nil {
		old.sender.close()
	}
	if next != nil && !w.begun {
		w.begun = true
		go w.loop()
	}
	w.poke()
	return nil
}

// Close has no more changes claimed and waits until those under way are looked
// at. When ctx ends, what is being sent is cut off: another worker, or the next
// process, sends it again.
func (w *Worker) Close(ctx context.Context) {
	w.mu.Lock()
	begun, closed := w.begun, w.closed
	w.closed = true
	if !closed {
		close(w.stop)
	}
	w.mu.Unlock()
	if begun {
		end := context.AfterFunc(ctx, w.cut)
		<-w.ended
		end()
	}
	w.cut()
	if c := w.config.Swap(nil); c != nil && c.sender != nil {
		c.sender.close()
	}
}

// poke has the loop look at once.
func (w *Worker) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// soon has the loop look in d.
func (w *Worker) soon(d time.Duration) {
	if w.timers.Add(1) > maxTimers {
		w.timers.Add(-1)
		return
	}
	time.AfterFunc(d+late, func() {
		w.timers.Add(-1)
		w.poke()
	})
}

func (w *Worker) loop() {
	defer close(w.ended)
	defer w.looking.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-w.wake:
		case <-timer.C:
		}
		c := w.config.Load()
		if c == nil {
			timer.Stop() // until it is configured again
			continue
		}
		w.claim(c)
		timer.Reset(c.poll()*4/5 + rand.N(c.poll()*2/5)) //nolint:gosec // it spreads work, and protects nothing
	}
}

// claim claims what is due and has it looked at.
func (w *Worker) claim(c *configured) {
	free := atOnce - int(w.busy.Load())
	w.more.Store(true)
	if free <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), command)
	defer cancel()
	changes, err := w.store.ClaimChanges(ctx, free, c.lease())
	if err != nil {
		c.Logger.Debug("changes of connections could not be looked for", "error", err)
	}
	if len(changes) < free {
		w.more.Store(false)
	}
	for _, change := range changes {
		w.busy.Add(1)
		w.looking.Go(func() {
			w.look(c, change)
			w.busy.Add(-1)
			if w.more.Load() {
				w.poke()
			}
		})
	}
}
