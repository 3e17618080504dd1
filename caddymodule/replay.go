package caddymodule

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"sync/atomic"
)

// defaultReplayBuffer is how much of a call's body is kept in case Pleo refuses
// the token, replayBudget what all calls together may keep.
const (
	defaultReplayBuffer = 1 << 20
	replayBudget        = 64 << 20
)

var replayMemory = newBudget(replayBudget)

// pooledSize is how large the buffers are that bodies are kept in one after
// another: most bodies are smaller, and clearing and collecting memory for each would
// cost more than all else that is done with them here.
const pooledSize = 16 << 10

var replayPool = sync.Pool{New: func() any { return new([pooledSize]byte) }}

// budget is memory that calls share.
type budget struct{ left atomic.Int64 }

func newBudget(size int64) *budget {
	b := new(budget)
	b.left.Store(size)
	return b
}

// take returns false, and takes nothing, if there is not as much left.
func (b *budget) take(n int64) bool {
	if b.left.Add(-n) >= 0 {
		return true
	}
	b.left.Add(n)
	return false
}

func (b *budget) give(n int64) { b.left.Add(n) }

// replay is a request's body that can be sent again. It is copied while the
// first attempt reads it, never read ahead: a caller may wait for the answer's
// start before it sends the rest.
//
// The attempts overlap: an http.Transport that has its answer may still be
// inside a Read of the body that it was given. So each attempt has a view of
// its own, and what a Read brings after its attempt is over is kept for the
// next one.
type replay struct {
	source   io.ReadCloser // nil: there is no body
	trailer  http.Header   // the source's end writes it: not to be looked at before
	trailers bool          // whether any were announced
	declared int64         // -1: unknown
	limit    int64
	memory   *budget

	reading sync.Mutex // held during source.Read

	mu       sync.Mutex
	total    int               // what was read from the source
	kept     []byte            // the end of that
	pooled   *[pooledSize]byte // what kept lies in, if it is of the pool
	reserved int64
	tooLarge bool
	end      error // what the source ended with
	final    bool  // there will be no further attempt
	closed   bool
	current  *attempt
}

// noBody is the replay of all calls without a body. Nothing in it ever changes.
var noBody = new(replay)

func newReplay(req *http.Request, limit int64, memory *budget) *replay {
	if req.Body == nil || req.Body == http.NoBody {
		return noBody
	}
	trailers := len(req.Trailer) > 0
	dropPrivate(req.Trailer) // in which the body's end puts what was announced, and what was not
	return &replay{
		source: req.Body, trailer: req.Trailer, trailers: trailers,
		declared: req.ContentLength, limit: limit, memory: memory,
	}
}

// again reports whether a further attempt would send all that the ones before
// have read, and if so ends the last one: a Read that is under way could otherwise
// bring more than is kept after that has been said. With trailers it takes the
// whole body: they are announced in the header, and filled in at its end.
func (r *replay) again() bool {
	if r.source == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tooLarge || r.trailers && !errors.Is(r.end, io.EOF) {
		return false
	}
	if r.current != nil {
		r.current.over = true
	}
	return true
}

// attempt ends the attempt before and gives out's body for the next one.
func (r *replay) attempt(out *http.Request) {
	if r.source == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.current != nil {
		r.current.over = true
		if out.Trailer = nil; r.trailers {
			out.Trailer = maps.Clone(r.trailer) // the first attempt may still read the other one
		}
	}
	r.current = &attempt{replay: r}
	out.Body = r.current
}

// finish says that there will be no further attempt. The last one may still be
// reading: an answer can come before the body's end.
func (r *replay) finish() {
	if r.source == nil {
		return
	}
	r.mu.Lock()
	r.final = true
	closeNow := r.current == nil || r.current.over
	r.releaseLocked()
	r.mu.Unlock()
	if closeNow {
		r.close()
	}
}

// close closes the source if it was read to its end. A body with something left
// is the server's to close. In Caddy v2.11.9 it is wrapped (idle timeouts), and
// net/http, which then cannot see that somebody else closed it early, would go
// on with what is left of it as the next request on the connection: an attacker
// who can choose a body could make calls, and be answered in others' place.
func (r *replay) close() {
	r.mu.Lock()
	due := errors.Is(r.end, io.EOF) && !r.closed
	r.closed = r.closed || due
	r.mu.Unlock()
	if due {
		_ = r.source.Close()
	}
}

// readLocked takes what a read by a has brought, and keeps it for a further
// attempt, or gives up on one.
func (r *replay) readLocked(a *attempt, p []byte) {
	r.total += len(p)
	if a.over {
		r.kept = append(r.kept, p...) // whatever the limit: the next attempt is waiting for it
		return
	}
	a.read += len(p)
	if r.tooLarge || r.final || len(p) == 0 {
		return
	}
	size := int64(r.total)
	if max(size, r.declared) > r.limit || !r.reserveLocked(size) {
		r.tooLarge = true
		r.releaseLocked()
		return
	}
	r.kept = append(r.kept, p...)
}

func (r *replay) reserveLocked(size int64) bool {
	if size <= r.reserved {
		return true
	}
	want := min(max(size, 2*r.reserved, r.declared, 4<<10), r.limit)
	if !r.memory.take(want - r.reserved) {
		return false
	}
	old := r.pooled
	var grown []byte
	if r.pooled = nil; want <= pooledSize {
		r.pooled = replayPool.Get().(*[pooledSize]byte) //nolint:forcetypeassert // nothing else is put there
		grown = r.pooled[:len(r.kept):want]
	} else {
		grown = make([]byte, len(r.kept), want)
	}
	copy(grown, r.kept)
	r.kept, r.reserved = grown, want
	if old != nil {
		replayPool.Put(old)
	}
	return true
}

// releaseLocked gives the memory back, unless the attempt that is under way has
// still to read it.
func (r *replay) releaseLocked() {
	if !r.tooLarge && !r.final {
		return
	}
	if c := r.current; c != nil && !c.over && c.unread() > 0 {
		return
	}
	r.memory.give(r.reserved)
	r.kept, r.reserved = nil, 0
	if r.pooled != nil {
		replayPool.Put(r.pooled)
		r.pooled = nil
	}
}
