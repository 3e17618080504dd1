package redisstore

import (
	"context"
	"errors"
	"fmt"
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

// Lock takes the connection's lock for life (whole milliseconds), without
// waiting, or returns [pleoauth.ErrLocked].
func (s *Store) Lock(ctx context.Context, name string, life time.Duration) (pleoauth.Lock, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	held, err := s.locker.Obtain(ctx, s.keys.lock(name), atLeastMillisecond(life), nil)
	switch {
	case errors.Is(err, redislock.ErrNotObtained):
		return nil, pleoauth.ErrLocked
	case err != nil:
		return nil, fmt.Errorf("redis: lock: %w", err)
	}
	return &lock{store: s, name: name, held: held}, nil
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

func atLeastMillisecond(d time.Duration) time.Duration { return max(d, time.Millisecond) }

// Interface guards
var _ pleoauth.Lock = (*lock)(nil)
