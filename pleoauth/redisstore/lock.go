package redisstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/bsm/redislock"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// lock is a held lock of one connection.
type lock struct {
	store *Store
	name  string
	held  *redislock.Lock
}

// Lock takes the connection's lock (its life in whole milliseconds), without
// waiting, or returns [pleoauth.ErrLocked]. That a caller is next is noted in a
// key beside the lock, which every process sees. A caller that looked just
// before the note was made may still obtain the lock once.
func (s *Store) Lock(ctx context.Context, name string, o pleoauth.LockOptions) (pleoauth.Lock, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if o.Yield {
		next, err := s.client.do(ctx, s.keys.next(name), "exists", s.keys.next(name)).Bool()
		switch {
		case err != nil:
			return nil, fmt.Errorf("redis: lock: next: %w", err)
		case next:
			return nil, pleoauth.ErrLocked
		}
	}
	token := s.unanswered.take(name)
	held, err := s.locker.Obtain(ctx, s.keys.lock(name), atLeastMillisecond(o.Life), &redislock.Options{Token: token})
	switch {
	case errors.Is(err, redislock.ErrNotObtained):
		return nil, s.noteNext(ctx, name, o.Next)
	case err != nil:
		s.unanswered.put(name, token, o.Life)
		return nil, fmt.Errorf("redis: lock: %w", err)
	}
	if o.Next > 0 {
		// Where this fails, the note ends by itself.
		_ = s.client.do(ctx, s.keys.next(name), "del", s.keys.next(name)).Err()
	}
	return &lock{store: s, name: name, held: held}, nil
}

// noteNext notes for the given time, if it is not 0, that a caller which did not
// obtain the lock is next in line for it. It returns [pleoauth.ErrLocked], or
// the error of the note.
func (s *Store) noteNext(ctx context.Context, name string, life time.Duration) error {
	if life > 0 {
		key := s.keys.next(name)
		if err := s.client.do(ctx, key, "set", key, "1", "px", milliseconds(life)).Err(); err != nil {
			return fmt.Errorf("redis: lock: next: %w", err)
		}
	}
	return pleoauth.ErrLocked
}

// Renew extends the lock to life from now, or returns [pleoauth.ErrLockLost].
func (l *lock) Renew(ctx context.Context, life time.Duration) error {
	ctx, cancel := l.store.bound(ctx)
	defer cancel()
	return lockError("renew", l.held.Refresh(ctx, atLeastMillisecond(life), nil))
}

// Release gives the lock back, although ctx may have ended, or returns
// [pleoauth.ErrLockLost] if it had lapsed.
func (l *lock) Release(ctx context.Context) error {
	// redislock does nothing under a context that has ended, and the lock
	// would stand for the rest of its life.
	ctx, cancel := l.store.bound(context.WithoutCancel(ctx))
	defer cancel()
	return lockError("release", l.held.Release(ctx))
}

func lockError(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, redislock.ErrNotObtained), errors.Is(err, redislock.ErrLockNotHeld):
		return pleoauth.ErrLockLost
	}
	return fmt.Errorf("redis: %s lock: %w", what, err)
}

// lockToken returns what swap.lua compares the lock with, "" for no lock.
func (s *Store) lockToken(name string, l pleoauth.Lock) (string, error) {
	if l == nil {
		return "", nil
	}
	own, ok := l.(*lock)
	if !ok || own.store.keys != s.keys || own.name != name {
		return "", fmt.Errorf("%w: it is not of this store and connection", pleoauth.ErrLockLost)
	}
	return own.held.Token(), nil
}

// unanswered are the tokens of locks that were asked for without an answer. A
// server that hung takes such a lock when it goes on, for nobody: whoever asks
// next does so with the same token, and has it.
type unanswered struct {
	mu     sync.Mutex
	tokens map[string]unansweredToken
}

type unansweredToken struct {
	token string
	until time.Time // the lock lapses by then, if it was taken at once
}

// manyUnanswered is from how many on those that have lapsed are looked for.
const manyUnanswered = 1024

// take returns the token to ask for a connection's lock with: one that was not
// answered, or a new one.
func (u *unanswered) take(name string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	known, ok := u.tokens[name]
	delete(u.tokens, name)
	if ok && time.Now().Before(known.until) {
		return known.token
	}
	return newRevision()
}

func (u *unanswered) put(name, token string, life time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if len(u.tokens) >= manyUnanswered {
		maps.DeleteFunc(u.tokens, func(_ string, t unansweredToken) bool { return now.After(t.until) })
	}
	if u.tokens == nil {
		u.tokens = map[string]unansweredToken{}
	}
	u.tokens[name] = unansweredToken{token, now.Add(unansweredLife + life)}
}

// unansweredLife is for how long a server may hang and still take a lock that
// was asked for before.
const unansweredLife = time.Minute

func atLeastMillisecond(d time.Duration) time.Duration { return max(d, time.Millisecond) }

// Interface guards
var _ pleoauth.Lock = (*lock)(nil)
