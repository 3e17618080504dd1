package pleoauth_test

import (
	"context"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func (s *memStore) Lock(ctx context.Context, name string, o pleoauth.LockOptions) (lock pleoauth.Lock, err error) {
	err = s.do(ctx, "lock", func() error {
		now := time.Now()
		if now.Before(s.server.locks[name].until) {
			if o.Next > 0 {
				s.server.next[name] = now.Add(o.Next)
			}
			return pleoauth.ErrLocked
		}
		if o.Yield && now.Before(s.server.next[name]) {
			return pleoauth.ErrLocked
		}
		s.server.jumped[name] = o.Next == 0 && now.Before(s.server.next[name])
		if o.Next > 0 {
			delete(s.server.next, name)
		}
		token := randomID()
		s.server.locks[name] = memLockState{token, now.Add(o.Life)}
		s.tokens[name] = token
		lock = &memLock{s, name, token}
		if s.locked != nil {
			s.locked(name)
		}
		return nil
	})
	return lock, err
}

type memLock struct {
	store       *memStore
	name, token string
}

func (l *memLock) holds() bool {
	now := l.store.server.locks[l.name]
	return now.token == l.token && time.Now().Before(now.until)
}

func (l *memLock) Renew(ctx context.Context, life time.Duration) error {
	return l.store.do(ctx, "renew", func() error {
		if !l.holds() {
			return pleoauth.ErrLockLost
		}
		l.store.server.locks[l.name] = memLockState{l.token, time.Now().Add(life)}
		return nil
	})
}

func (l *memLock) Release(ctx context.Context) error {
	if l.store.unlocked != nil {
		l.store.unlocked(l.name)
	}
	return l.store.do(context.WithoutCancel(ctx), "release", func() error {
		if l.holds() {
			delete(l.store.server.locks, l.name)
		}
		return nil
	})
}
