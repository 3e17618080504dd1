package redisstore

// channel is the subscription to one connection's notices.
type channel struct {
	// watched is what is wanted; sent whether the last command on the present
	// connection was SUBSCRIBE; unanswered how many SUBSCRIBEs the server has
	// not confirmed. Only the last confirmation counts: an earlier one may
	// stand before an UNSUBSCRIBE.
	watched, sent bool
	unanswered    int
	// watchers counts the Watch calls under way, held whether one succeeded.
	watchers int
	held     bool
	confirm  *confirmation
}

// confirmation is one wait for the server's word.
type confirmation struct {
	// done is closed when the outcome is known; err may be read then. Who waits
	// has taken it under the lock: afterwards it is the one that all share.
	done chan struct{}
	err  error
}

// known is the closed channel of every outcome that is known: each connection
// in use has one.
var known = func() chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}()

func newConfirmation() *confirmation { return &confirmation{done: make(chan struct{})} }

// settled reports whether the outcome is known.
func (c *confirmation) settled() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *confirmation) settle(err error) {
	if !c.settled() {
		c.err = err
		close(c.done)
		c.done = known
	}
}
