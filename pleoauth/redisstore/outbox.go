package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// NoteChanges has swaps note changes in the same script, see [pleoauth.Outbox].
func (s *Store) NoteChanges(noted func()) {
	if noted == nil {
		s.noted.Store(nil)
		return
	}
	s.noted.Store(&noted)
}

// ClaimChanges claims up to limit changes. Callers begin at different shards, so
// that replicas that ask at the same time do not all try the same ones. An error
// may come after some were claimed: those lapse.
func (s *Store) ClaimChanges(ctx context.Context, limit int, lease time.Duration) ([]pleoauth.Change, error) {
	names, err := s.dueOf(ctx, s.keys.changes, limit)
	if err != nil {
		return nil, fmt.Errorf("redis: changes: %w", err)
	}
	var changes []pleoauth.Change
	for _, name := range names {
		change, ok, err := s.claim(ctx, name, lease)
		if err != nil {
			return changes, fmt.Errorf("redis: claim: %w", err)
		}
		if ok {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

func (s *Store) claim(ctx context.Context, name string, lease time.Duration) (pleoauth.Change, bool, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	claim := newRevision()
	answer, err := claimScript.Run(ctx, s.client, s.changeKeys(name), name, claim, milliseconds(lease)).StringSlice()
	if err != nil || len(answer) == 0 {
		return pleoauth.Change{}, false, err
	}
	if len(answer) != 4 {
		return pleoauth.Change{}, false, errAnswer
	}
	at, errAt := strconv.ParseInt(answer[1], 10, 64)
	age, errAge := strconv.ParseInt(answer[2], 10, 64)
	if errAt != nil || errAge != nil {
		return pleoauth.Change{}, false, errAnswer
	}
	return pleoauth.Change{
		Connection: name, Claim: claim, Seen: answer[0],
		At: time.UnixMilli(at).UTC(), Age: time.Duration(age) * time.Millisecond, Told: []byte(answer[3]),
	}, true, nil
}

// KeepChange keeps a claim, see [pleoauth.Outbox].
func (s *Store) KeepChange(ctx context.Context, c pleoauth.Change, told []byte, lease time.Duration) error {
	return s.finish(ctx, c, told, milliseconds(lease), "")
}

// FinishChange ends a claim, see [pleoauth.Outbox].
func (s *Store) FinishChange(ctx context.Context, c pleoauth.Change, told []byte, again time.Duration) error {
	if again > 0 {
		return s.finish(ctx, c, told, "", milliseconds(again))
	}
	return s.finish(ctx, c, told, "", "")
}

func (s *Store) finish(ctx context.Context, c pleoauth.Change, told []byte, lease, again any) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	answer, err := finishScript.Run(ctx, s.client, s.changeKeys(c.Connection), c.Connection, c.Claim, c.Seen, told, lease, again).Text()
	switch {
	case err != nil:
		return fmt.Errorf("redis: change: %w", err)
	case answer == "LOST":
		return pleoauth.ErrClaimLost
	}
	return nil
}

// changeKeys returns the keys of claim.lua and finish.lua.
func (s *Store) changeKeys(name string) []string {
	return []string{s.keys.changes(s.keys.shard(name)), s.keys.change(name)}
}
