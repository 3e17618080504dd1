package certstore

import (
	"context"
	"crypto/rand"
	"fmt"
	"path"
	"strconv"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// The fields of a change's file. Times are Unix milliseconds.
const (
	changeSeen  = "seen"
	changeAt    = "at"
	changeDue   = "due" // empty: it is not to be looked at
	changeClaim = "claim"
	changeUntil = "until"
	changeTold  = "told"
)

func (s *Store) changesKey() string { return path.Join(s.storage.root, "changes") }

func (s *Store) changeKey(name string) string {
	return path.Join(s.changesKey(), fileName(name, suffix))
}

// NoteChanges has swaps note changes before they are made, see
// [pleoauth.Outbox]: what comes to nothing is then looked at for nothing.
func (s *Store) NoteChanges(noted func()) {
	if noted == nil {
		s.noted.Store(nil)
		return
	}
	s.noted.Store(&noted)
}

// noteChange notes a change that is about to be made, under the connection's
// exclusive lock.
func (s *Store) noteChange(ctx context.Context, name string) error {
	fields, err := s.storage.loadMap(ctx, s.changeKey(name))
	if err != nil || fields == nil {
		fields = make(map[string]string) // what cannot be read tells nothing
	}
	now := milliseconds(time.Now())
	fields[changeSeen], fields[changeAt], fields[changeDue] = rand.Text(), now, now
	return s.storage.storeMap(ctx, s.changeKey(name), fields)
}

// ClaimChanges claims up to limit changes. It reads the file of each connection
// that ever changed, which is for the few that one process has.
func (s *Store) ClaimChanges(ctx context.Context, limit int, lease time.Duration) ([]pleoauth.Change, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("certstore: changes: %w", err)
	}
	keys, err := s.storage.list(ctx, s.changesKey())
	if err != nil {
		return nil, fmt.Errorf("certstore: changes: %w", err)
	}
	var changes []pleoauth.Change
	for _, key := range keys {
		if len(changes) >= limit {
			break
		}
		name, ok := nameOf(trimDir(s.changesKey(), key))
		if !ok {
			continue
		}
		// Looked at without the lock first: most are not to be claimed.
		if fields, err := s.storage.loadMap(ctx, key); err != nil || !claimable(fields, time.Now()) {
			continue
		}
		change, ok, err := s.claimChange(ctx, name, lease)
		if err != nil {
			return changes, fmt.Errorf("certstore: claim: %w", err)
		}
		if ok {
			changes = append(changes, change)
		}
	}
	return changes, nil
}

func (s *Store) claimChange(ctx context.Context, name string, lease time.Duration) (pleoauth.Change, bool, error) {
	unlock, err := s.changing(ctx, name)
	if err != nil {
		return pleoauth.Change{}, false, err
	}
	defer unlock()
	fields, err := s.storage.loadMap(ctx, s.changeKey(name))
	now := time.Now()
	if err != nil || !claimable(fields, now) {
		return pleoauth.Change{}, false, err
	}
	fields[changeClaim], fields[changeUntil] = rand.Text(), milliseconds(now.Add(lease))
	if err := s.storage.storeMap(ctx, s.changeKey(name), fields); err != nil {
		return pleoauth.Change{}, false, err
	}
	at, _ := parseMilliseconds(fields[changeAt])
	return pleoauth.Change{
		Connection: name, Claim: fields[changeClaim], Seen: fields[changeSeen],
		At: at.UTC(), Age: now.Sub(at), Told: []byte(fields[changeTold]),
	}, true, nil
}

// claimable reports whether a change is to be looked at, and nobody's.
func claimable(fields map[string]string, now time.Time) bool {
	due, ok := parseMilliseconds(fields[changeDue])
	if !ok || due.After(now) {
		return false
	}
	until, ok := parseMilliseconds(fields[changeUntil])
	return !ok || !until.After(now)
}

// KeepChange keeps a claim, see [pleoauth.Outbox].
func (s *Store) KeepChange(ctx context.Context, c pleoauth.Change, told []byte, lease time.Duration) error {
	return s.changeClaimed(ctx, c, func(fields map[string]string) bool {
		fields[changeTold], fields[changeUntil] = string(told), milliseconds(time.Now().Add(lease))
		return true
	})
}

// FinishChange ends a claim, see [pleoauth.Outbox].
func (s *Store) FinishChange(ctx context.Context, c pleoauth.Change, told []byte, again time.Duration) error {
	return s.changeClaimed(ctx, c, func(fields map[string]string) bool {
		changed := fields[changeSeen] != c.Seen
		fields[changeTold], fields[changeDue] = string(told), ""
		delete(fields, changeClaim)
		delete(fields, changeUntil)
		if changed || again > 0 {
			fields[changeDue] = milliseconds(time.Now().Add(again))
			if changed {
				fields[changeDue] = milliseconds(time.Now())
			}
			return true
		}
		return len(told) > 0
	})
}

// changeClaimed changes the file of a change that is still claimed, or removes it
// if that is what change says.
func (s *Store) changeClaimed(ctx context.Context, c pleoauth.Change, change func(fields map[string]string) (keep bool)) error {
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("certstore: change: %w", err)
	}
	unlock, err := s.changing(ctx, c.Connection)
	if err != nil {
		return fmt.Errorf("certstore: change: %w", err)
	}
	defer unlock()
	fields, err := s.storage.loadMap(ctx, s.changeKey(c.Connection))
	if err != nil {
		return fmt.Errorf("certstore: change: %w", err)
	}
	if c.Claim == "" || fields[changeClaim] != c.Claim {
		return pleoauth.ErrClaimLost
	}
	if change(fields) {
		err = s.storage.storeMap(ctx, s.changeKey(c.Connection), fields)
	} else {
		err = s.storage.remove(ctx, s.changeKey(c.Connection))
	}
	if err != nil {
		return fmt.Errorf("certstore: change: %w", err)
	}
	return nil
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func parseMilliseconds(text string) (time.Time, bool) {
	ms, err := strconv.ParseInt(text, 10, 64)
	return time.UnixMilli(ms), err == nil
}
