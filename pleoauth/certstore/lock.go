package certstore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// exclusivePoll is how often a taken lock file is tried again, and
	// exclusiveLimit for how long: its holder may be a stopped process.
	exclusivePoll  = time.Millisecond
	exclusiveLimit = 5 * time.Second
)

// lockFile returns the lock file of a slash-separated path, its directory made.
func (s *Store) lockFile(file string) (*flock.Flock, error) {
	name := filepath.Join(s.dir, filepath.FromSlash(file))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	return flock.New(name), nil
}

// changing waits until this is the only one that changes what there is of a
// connection: its record, and what is noted of it.
func (s *Store) changing(ctx context.Context, connection string) (unlock func(), err error) {
	return s.exclusive(ctx, lockName(connection, ".swap"))
}

// exclusive waits until this is the only one, in any process, that is between
// exclusive and unlock for file. It is never held while anything is waited for
// but the disk. Lock files stay: to remove one is to let two in.
func (s *Store) exclusive(ctx context.Context, file string) (unlock func(), err error) {
	f, err := s.lockFile(file)
	if err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, exclusiveLimit)
	defer cancel()
	if _, err := f.TryLockContext(bounded, exclusivePoll); err != nil {
		if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return nil, errors.New("another process holds the lock file and does not go on")
		}
		return nil, err
	}
	return func() { _ = f.Unlock() }, nil
}

// lock is a held lock of one connection: a lock of the operating system on a
// file, which excludes other holders in this process and in others,
// with an end that this process sets itself. A stopped process keeps it until
// it goes on.
type lock struct {
	store *Store
	name  string
	file  *flock.Flock

	mu sync.Mutex
	// until is when the lock lapses; zero: it has ended.
	until time.Time
	timer *time.Timer
}

// Lock takes the connection's lock, without waiting, or returns
// [pleoauth.ErrLocked]. That a caller is next is noted in a file beside the lock
// file, which every process on this machine sees.
func (s *Store) Lock(ctx context.Context, name string, o pleoauth.LockOptions) (pleoauth.Lock, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("certstore: lock: %w", err)
	}
	file, err := s.lockFile(lockName(name, ".lock"))
	if err != nil {
		return nil, fmt.Errorf("certstore: lock: %w", err)
	}
	next := nextNote(filepath.Join(s.dir, lockName(name, ".next")))
	if o.Yield && next.stands() {
		return nil, pleoauth.ErrLocked
	}
	got, err := file.TryLock()
	switch {
	case err != nil:
		return nil, fmt.Errorf("certstore: lock: %w", err)
	case got && o.Next > 0:
		next.end()
	case !got && o.Next > 0:
		if err := next.write(o.Next); err != nil {
			return nil, fmt.Errorf("certstore: lock: next: %w", err)
		}
	}
	if !got {
		return nil, pleoauth.ErrLocked
	}
	l := &lock{store: s, name: name, file: file, until: time.Now().Add(o.Life)}
	l.mu.Lock()
	l.timer = time.AfterFunc(o.Life, l.lapse)
	l.mu.Unlock()
	s.mu.Lock()
	closed := s.closed
	if !closed {
		s.locks[l] = struct{}{}
	}
	s.mu.Unlock()
	if closed {
		l.end()
		return nil, fmt.Errorf("certstore: lock: %w", errClosed)
	}
	return l, nil
}

// Renew extends the lock to life from now, or returns [pleoauth.ErrLockLost].
func (l *lock) Renew(ctx context.Context, life time.Duration) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("certstore: renew lock: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.held() {
		return pleoauth.ErrLockLost
	}
	l.until = time.Now().Add(life)
	l.timer.Reset(life)
	return nil
}

// Release gives the lock back, or returns [pleoauth.ErrLockLost] if it had
// lapsed.
func (l *lock) Release(context.Context) error {
	l.mu.Lock()
	held := l.held()
	l.mu.Unlock()
	l.end()
	if !held {
		return pleoauth.ErrLockLost
	}
	return nil
}

// held needs l.mu. It does not trust the timer, which may be late.
func (l *lock) held() bool { return !l.until.IsZero() && time.Now().Before(l.until) }

// lapse is called by the timer.
func (l *lock) lapse() {
	l.mu.Lock()
	if left := time.Until(l.until); !l.until.IsZero() && left > 0 {
		// Renewed while the timer was about to fire.
		l.timer.Reset(left)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	l.end()
}

// end lets go of the file, once.
func (l *lock) end() {
	l.mu.Lock()
	ended := l.until.IsZero()
	l.until = time.Time{}
	l.timer.Stop()
	l.mu.Unlock()
	if ended {
		return
	}
	l.store.mu.Lock()
	delete(l.store.locks, l)
	l.store.mu.Unlock()
	_ = l.file.Unlock()
}

// checkLock returns [pleoauth.ErrLockLost] unless l is nil or held.
func (s *Store) checkLock(name string, l pleoauth.Lock) error {
	if l == nil {
		return nil
	}
	own, ok := l.(*lock)
	if !ok || own.store != s || own.name != name {
		return fmt.Errorf("%w: it is not of this store and connection", pleoauth.ErrLockLost)
	}
	own.mu.Lock()
	defer own.mu.Unlock()
	if !own.held() {
		return pleoauth.ErrLockLost
	}
	return nil
}

// trimDir returns key's path below dir.
func trimDir(dir, key string) string {
	return strings.TrimPrefix(filepath.ToSlash(key), dir+"/")
}

// Interface guards
var _ pleoauth.Lock = (*lock)(nil)
