// Package pace keeps the requests of one OAuth client within what its
// authorisation server takes.
//
// A limit there, and the 429 that tells of it, are about the client, not about
// one of its grants. So all requests of a process pass one [Gate]: a bounded
// number is under way at a time; those that a caller waits for come first, then
// those whose token expires first; a 429 holds back all of them, and after it they
// come at a lower pace, which grows again.
package pace

import (
	"container/heap"
	"sync"
	"time"
)

const (
	// AtOnce is how many turns are under way at the same time.
	AtOnce = 64

	// leastPause and mostPause bound a pause after a 429. Without a Retry-After
	// the pause is leastPause, doubled for each 429 that follows one without a
	// request that was served between them.
	leastPause = time.Second
	mostPause  = time.Minute
	// slowDown is which part of the requests that were served in the last second
	// are let through in a second after a 429.
	slowDown = 0.8
	// leastRate bounds how slow that gets, in requests a second.
	leastRate = 0.5
	// growth is how much the pace grows in a second, as a part of itself.
	growth = 0.01
	// forgotten is how long after the last 429 there is no limit any more.
	forgotten = 2 * time.Minute
)

// Gate lets turns through. The zero value is not ready; use [New].
type Gate struct {
	spread func(time.Duration) time.Duration

	mu    sync.Mutex
	queue queue
	under int // turns that are under way

	base    float64     // the pace at resume, in requests a second; 0: no limit is known of
	began   time.Time   // the last pause's beginning
	resume  time.Time   // its end
	next    time.Time   // when the next request may leave
	strikes int         // pauses since a request was served
	served  []time.Time // requests in the last second
	timer   *time.Timer // of the next look at the queue
}

// New returns a gate. spread returns a random part of a duration: pauses are
// lengthened by it, so that processes which were refused together do not come
// back together.
func New(spread func(time.Duration) time.Duration) *Gate { return &Gate{spread: spread} }

// Turn is a place in the queue, and then the right to make requests.
type Turn struct {
	gate     *Gate
	expires  time.Time // of the token that it is about
	hurried  bool      // a caller waits for it
	forced   bool      // a person does
	requests int
	index    int // in the queue; -1: not there
	open     chan struct{}
}

// Turn returns a turn about a token that expires at a time; the zero time comes
// before all others. It is not in the queue yet.
func (g *Gate) Turn(expires time.Time) *Turn { return &Turn{gate: g, expires: expires, index: -1} }

// Hurry puts the turn before all that no caller waits for.
func (t *Turn) Hurry() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.hurried {
		return
	}
	t.hurried = true
	if t.index >= 0 {
		heap.Fix(&g.queue, t.index)
	}
}

// Force lets the turn through at once, before all turns that wait and during a pause: a
// person has asked for it.
func (t *Turn) Force() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.forced = true
	if t.index >= 0 {
		heap.Fix(&g.queue, t.index)
		g.admit()
	}
}

// Enter waits for the right to make a number of requests, one after the other. It
// reports false if stop was closed before. After true, Leave has to be called.
func (t *Turn) Enter(requests int, stop <-chan struct{}) bool {
	g := t.gate
	g.mu.Lock()
	t.requests, t.open = requests, make(chan struct{})
	heap.Push(&g.queue, t)
	g.admit()
	open := t.open
	g.mu.Unlock()
	select {
	case <-open:
		return true
	case <-stop:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.index < 0 {
		return true // it was let through at the same time
	}
	heap.Remove(&g.queue, t.index)
	return false
}

// Leave ends the turn's requests. The turn may enter again.
func (t *Turn) Leave() {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	g.under--
	g.admit()
}

// Served notes a request that was answered otherwise than by a 429.
func (g *Gate) Served() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.strikes = 0
	g.served = append(g.lately(now), now)
}

// Refused notes a request, sent at a time, that was answered by a 429 with a
// Retry-After, or 0. All requests pause; those that were sent before the pause
// began, and are refused as well, do not slow the pace down once more.
func (g *Gate) Refused(sent time.Time, retryAfter time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if retryAfter <= 0 {
		retryAfter = leastPause << min(g.strikes, 6)
	}
	pause := min(max(retryAfter, leastPause), mostPause)
	until := now.Add(pause + g.spread(pause/8))
	if !sent.After(g.began) && !g.began.IsZero() {
		if now.Before(g.resume) && until.After(g.resume) {
			g.resume, g.next = until, until.Add(g.spread(g.interval(until)))
		}
		return
	}
	g.strikes++
	g.base = max(slowDown*float64(len(g.lately(now))), leastRate)
	g.began, g.resume = now, until
	g.next = until.Add(g.spread(g.interval(until))) // nor does the first one come at once
	g.admit()
}

// Waiting returns how many turns are in the queue.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue)
}

// Pause returns for how long a 429 still holds all requests; 0: none does.
func (g *Gate) Pause() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.resume), 0)
}

// lately returns when requests were served in the last second.
func (g *Gate) lately(now time.Time) []time.Time {
	for len(g.served) > 0 && now.Sub(g.served[0]) > time.Second {
		g.served = g.served[1:]
	}
	return g.served
}

// interval returns how long after a request the next one may leave.
func (g *Gate) interval(now time.Time) time.Duration {
	pace := g.base * (1 + growth*max(now.Sub(g.resume), 0).Seconds())
	return time.Duration(float64(time.Second) / pace)
}

// admit lets turns through for which it is time, and looks again when it may be
// time for the next. g.mu is held.
func (g *Gate) admit() {
	for len(g.queue) > 0 && (g.under < AtOnce || g.queue[0].forced) {
		if wait := g.wait(g.queue[0].requests); wait > 0 && !g.queue[0].forced {
			g.later(wait)
			return
		}
		next, _ := heap.Pop(&g.queue).(*Turn)
		g.under++
		close(next.open)
	}
}

// wait returns for how long a number of requests has to wait, and counts them if
// they need not. g.mu is held.
func (g *Gate) wait(requests int) time.Duration {
	now := time.Now()
	if g.base == 0 {
		return 0
	}
	if now.Sub(g.resume) > forgotten {
		g.base = 0
		return 0
	}
	if wait := g.next.Sub(now); wait > 0 {
		return wait
	}
	g.next = now.Add(time.Duration(requests) * g.interval(now))
	return 0
}

// later has admit called after a wait. g.mu is held.
func (g *Gate) later(wait time.Duration) {
	if g.timer != nil {
		g.timer.Stop()
	}
	g.timer = time.AfterFunc(wait, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.admit()
	})
}

// queue is a heap of turns: forced ones first, then hurried ones, then by expiry.
type queue []*Turn

func (q queue) Len() int { return len(q) }

func (q queue) Less(i, j int) bool {
	if q[i].forced != q[j].forced {
		return q[i].forced
	}
	if q[i].hurried != q[j].hurried {
		return q[i].hurried
	}
	return q[i].expires.Before(q[j].expires)
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

func (q *queue) Push(x any) {
	t, _ := x.(*Turn)
	t.index = len(*q)
	*q = append(*q, t)
}

func (q *queue) Pop() any {
	old := *q
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	t.index = -1
	return t
}
