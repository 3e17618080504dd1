package pleoauth

import "time"

// noteAlone notes whether the store has a replica in step. One that has had some and
// has none may be on the losing side of a split network: the other side refreshes,
// too, and should come first.
func (s *Source) noteAlone(alone bool) {
	if s.alone.Swap(alone) == alone {
		return
	}
	if alone {
		s.logger().Warn("none of the store's replicas is in step: if its network is split, another server takes its place; refreshes wait for longer, and Pleo is asked before each")
	} else {
		s.logger().Info("the store has a replica in step again")
	}
}

// dueAt returns when the token of a view is refreshed while it is in use. Where the
// store has lost its replicas that is half of refresh_before before its expiry: by
// then the side of a split network that has the replicas has done it.
func (s *Source) dueAt(v *view) time.Time {
	if !s.alone.Load() {
		return v.refreshAt
	}
	return later(v.refreshAt, v.expires.Add(-min(s.config().RefreshBefore, v.pair.grant.ExpiresIn/2)/2))
}
