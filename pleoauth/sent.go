package pleoauth

import "sync/atomic"

// sentRequest is a refresh token on its way, or that was: what this process
// knows of the request that it made under a mark. It outlives the flight that
// sent it, as the request does.
type sentRequest struct {
	nonce string
	conn  atomic.Pointer[TokenConn] // nil once it has ended: nothing is kept for a refresh that is over
	ended chan struct{}             // closed when an answer was read, or none can come
	asked bool                      // Pleo has been asked early; used by the flights alone
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
		conn.reset()
	}
	<-r.ended
}

// sends notes the request that is under way.
func (c *connection) sends(r *sentRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = r
}

// sentUnder returns the request that this process sent under the mark with the
// given nonce, or nil.
func (c *connection) sentUnder(nonce string) *sentRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == nil || c.sent.nonce != nonce {
		return nil
	}
	return c.sent
}
