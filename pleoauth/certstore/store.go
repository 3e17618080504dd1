// Package certstore keeps Pleo connections in Caddy's storage, for one process
// whose storage is on the file system: no Redis is needed then.
//
// Records are files that are replaced as a whole, under an exclusive lock of
// the operating system on a file beside them. Caddy's own storage locks are not
// used: they lapse after seconds for a process that is stopped, and two would
// then write the same record. With the operating system's locks a second
// process on the same storage, a command-line tool or the successor that starts
// while this one still drains, changes records one at a time like everybody
// else; it does not hear notices, though.
package certstore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// run is the run of every such store: files do not forget when a process ends.
const run = "file"

var (
	errClosed    = errors.New("store is closed")
	errMalformed = fmt.Errorf("%w: it is not a JSON object of strings", pleoauth.ErrRecordUnreadable)
)

// Store keeps records in files. Make it with [New] and end it with Close.
type Store struct {
	storage storage
	// dir is where lock files are.
	dir     string
	notices *notices
	flows   flowSweep
	// noted, if set, is called after swaps that note a change.
	noted atomic.Pointer[func()]

	mu     sync.Mutex
	closed bool
	locks  map[*lock]struct{}
}

// New returns a store for the records of id in storage, with lock files in the
// local directory dir, which is made when it is first needed. All processes
// that use the same storage must use the same dir. Nothing is read or written
// yet. An error says that storage or dir is missing.
func New(s Storage, dir string, id pleoauth.Identity) (*Store, error) {
	if s == nil {
		return nil, errors.New("certstore: there is no storage")
	}
	if dir == "" {
		return nil, errors.New("certstore: there is no directory for lock files")
	}
	hash := identityHash(id)
	return &Store{
		storage: storage{Storage: s, root: path.Join("pleo", hash)},
		dir:     filepath.Join(dir, hash),
		notices: newNotices(),
		locks:   make(map[*lock]struct{}),
	}, nil
}

// ready returns the error of a call that must not go on.
func (s *Store) ready(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	return ctx.Err()
}

// Ping returns nil if the storage can be read and lock files can be made.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("certstore: ping: %w", err)
	}
	if _, err := s.storage.load(ctx, path.Join(s.storage.root, "ping")); err != nil {
		return fmt.Errorf("certstore: ping: %w", err)
	}
	unlock, err := s.exclusive(ctx, "ping")
	if err != nil {
		return fmt.Errorf("certstore: ping: %w", err)
	}
	unlock()
	return nil
}

// Close gives back all locks and ends the delivery of notices. Closing again
// does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	locks := s.locks
	s.locks = make(map[*lock]struct{})
	s.mu.Unlock()
	for l := range locks {
		l.end()
	}
	s.notices.close()
	return nil
}

// Interface guards
var (
	_ pleoauth.Outbox = (*Store)(nil)
	_ pleoauth.Store  = (*Store)(nil)
)
