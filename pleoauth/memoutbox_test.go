package pleoauth_test

import (
	"context"
	"testing"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/storetest"
)

// memChange is a change of state that somebody is to look at.
type memChange struct {
	seen, claim    string
	at, due, until time.Time
	told           []byte
}

// note notes a change that a swap makes. The server is locked.
func (s *memStore) note(name string, old, next pleoauth.Record) {
	if s.noted == nil || !pleoauth.ChangesState(old, next) {
		return
	}
	c := s.server.changes[name]
	if c == nil {
		c = &memChange{}
		s.server.changes[name] = c
	}
	now := time.Now()
	c.seen, c.at, c.due = randomID(), now, now
	s.noted()
}

func (s *memStore) NoteChanges(noted func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = noted
}

func (s *memStore) ClaimChanges(ctx context.Context, limit int, lease time.Duration) (changes []pleoauth.Change, err error) {
	err = s.do(ctx, "claim", func() error {
		now := time.Now()
		for name, c := range s.server.changes {
			if len(changes) == limit || c.due.IsZero() || c.due.After(now) || c.until.After(now) {
				continue
			}
			c.claim, c.until = randomID(), now.Add(lease)
			changes = append(changes, pleoauth.Change{
				Connection: name, Claim: c.claim, Seen: c.seen, At: c.at.Round(0).Add(s.server.skew), Age: now.Sub(c.at), Told: c.told,
			})
		}
		return nil
	})
	return changes, err
}

func (s *memStore) KeepChange(ctx context.Context, change pleoauth.Change, told []byte, lease time.Duration) error {
	return s.claimed(ctx, change, func(c *memChange) { c.told, c.until = told, time.Now().Add(lease) })
}

func (s *memStore) FinishChange(ctx context.Context, change pleoauth.Change, told []byte, again time.Duration) error {
	return s.claimed(ctx, change, func(c *memChange) {
		c.told, c.claim, c.until, c.due = told, "", time.Time{}, time.Time{}
		switch {
		case c.seen != change.Seen:
			c.due = time.Now()
		case again > 0:
			c.due = time.Now().Add(again)
		case len(told) == 0:
			delete(s.server.changes, change.Connection)
		}
	})
}

func (s *memStore) claimed(ctx context.Context, change pleoauth.Change, f func(*memChange)) error {
	return s.do(ctx, "change", func() error {
		c := s.server.changes[change.Connection]
		if c == nil || c.claim == "" || c.claim != change.Claim {
			return pleoauth.ErrClaimLost
		}
		f(c)
		return nil
	})
}

func TestTheMemoryStoreIsAnOutboxLikeTheOthers(t *testing.T) {
	servers := map[pleoauth.Identity]*memServer{}
	storetest.RunOutbox(t, func(_ *testing.T, id pleoauth.Identity) pleoauth.Store {
		if servers[id] == nil {
			servers[id] = newMemServer()
		}
		return servers[id].client()
	})
}
