package pleoauth

import (
	"crypto/sha256"
	"sync/atomic"
	"time"
)

// sentRequest is a refresh token on its way, or that was: what this process
// knows of the request that it made under a mark. It outlives the flight that
// sent it, as the request does.
type sentRequest struct {
	nonce string
	token [sha256.Size]byte         // the hash of the refresh token
	since time.Time                 // the moment before its mark was asked for
	life  time.Duration             // of its mark
	conn  atomic.Pointer[TokenConn] // nil once it has ended: nothing is kept for a refresh that is over
	ended chan struct{}             // closed when an answer was read, or none can come
	asked bool                      // Pleo has been asked early; used by the flights alone
	// refused is set once the server has refused the client's secret: nothing of the
	// request can be on its way any more.
	refused atomic.Bool
}

func (r *sentRequest) end() {
	r.conn.Store(nil)
	close(r.ended)
}

// hangs reports whether an answer may still come.
func (r *sentRequest) hangs() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}

// reset ends a request that hangs, so that what of it is still on its way is
// dropped, and waits until its end has been noted.
func (r *sentRequest) reset() {
	if conn := r.conn.Load(); conn != nil {
		conn.reset(r.ended)
	}
	<-r.ended
}

// over reports whether nothing of the request can reach Pleo any more.
func (r *sentRequest) over() bool { return r.rest() <= 0 }

// rest returns for how long the request may still reach Pleo.
func (r *sentRequest) rest() time.Duration {
	if r.refused.Load() {
		return 0
	}
	return r.life - time.Since(r.since)
}

// sends notes the request that is under way.
func (c *connection) sends(r *sentRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = r
}

// unsent forgets a request of which provably nothing has left.
func (c *connection) unsent(r *sentRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == r {
		c.sent = nil
	}
}

// sentWith returns the last request of this process that had the given refresh
// token, or nil. It counts also where the record shows another mark or none: a store that fails over,
// or a record that is written back, may have lost the request's own.
func (c *connection) sentWith(refreshToken string) *sentRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == nil || c.sent.token != sha256.Sum256([]byte(refreshToken)) {
		return nil
	}
	return c.sent
}
