package pleoauth

import (
	"context"
	"time"
)

// gate holds new calls of a connection while its token is being refreshed: the
// moment Pleo processes that, the old token is dead, and a call that carries it
// would be refused. Replicas tell each other by notices. It is a courtesy, not a
// safeguard: bounded, raised once for each version, and open to calls whose
// notice was lost.
type gate struct {
	version, nonce string
	until          time.Time
	open           chan struct{}
}

// raise closes the connection's gate for calls with the given version.
func (s *Source) raise(c *connection, version, nonce string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.view.Load(); v == nil || v.version != version || c.gated == version {
		return // late, or it has been raised for this version already
	}
	c.gated = version
	c.gate.Store(&gate{version: version, nonce: nonce, until: time.Now().Add(s.times().gate), open: make(chan struct{})})
}

// announced notes that a refresh is about to be sent, by another replica or by
// this one: its mark's life counts from here, and so does the wait of those who
// wait for it.
func (c *connection) announced(nonce string, now time.Time) {
	c.markSince(nonce, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flight != nil {
		c.flight.waited.Store(&now)
	}
}

// lift opens the gate that was raised with the given nonce; "" means any.
func (c *connection) lift(nonce string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.liftLocked(nonce)
}

func (c *connection) liftLocked(nonce string) {
	if g := c.gate.Load(); g != nil && (nonce == "" || g.nonce == nonce) {
		c.gate.Store(nil)
		close(g.open)
	}
}

// passGate waits until the gate is open, at most as long as its bound: then
// the old token is as good as it ever was.
func (s *Source) passGate(ctx context.Context, c *connection) error {
	g := c.gate.Load()
	if g == nil {
		return nil
	}
	defer s.gateWaited(time.Now())
	timer := time.NewTimer(time.Until(g.until))
	defer timer.Stop()
	select {
	case <-g.open:
		return nil
	case <-timer.C:
		c.lift(g.nonce)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// announce raises the gate here and in all replicas that use the connection.
func (s *Source) announce(c *connection, version, nonce string) {
	s.raise(c, version, nonce)
	s.tell(Notice{Kind: NoticeGate, Connection: c.name, Version: version, Nonce: nonce, Life: s.times().mark})
}

// revokeGate opens it again where the refresh has not brought a new version, which
// would have opened it everywhere.
func (s *Source) revokeGate(c *connection, nonce string) {
	c.lift(nonce)
	s.tell(Notice{Kind: NoticeLifted, Connection: c.name, Nonce: nonce})
}

func (s *Source) tell(n Notice) {
	ctx, cancel := s.command()
	defer cancel()
	err := s.store.Publish(ctx, n)
	s.storeAnswered(StorePublish, err)
	if err != nil {
		s.logger().Debug("a notice could not be published", "connection", n.Connection, "kind", string(n.Kind), "error", err)
	}
}
