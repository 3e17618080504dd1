package certstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// revisionField is the field of a record's file that swaps compare.
const revisionField = "rev"

func (s *Store) recordsKey() string { return path.Join(s.storage.root, "records") }

func (s *Store) recordKey(name string) string {
	return path.Join(s.recordsKey(), fileName(name, suffix))
}

// Read returns the record. It returns an error that wraps
// [pleoauth.ErrRecordUnreadable] if the file is of another format.
func (s *Store) Read(ctx context.Context, name string) (pleoauth.Snapshot, error) {
	if err := s.ready(ctx); err != nil {
		return pleoauth.Snapshot{}, fmt.Errorf("certstore: read: %w", err)
	}
	fields, err := s.fields(ctx, name)
	if err != nil {
		return pleoauth.Snapshot{}, fmt.Errorf("certstore: read: %w", err)
	}
	return snapshot(fields)
}

// fields returns what a record's file holds, nil if there is none.
func (s *Store) fields(ctx context.Context, name string) (map[string]string, error) {
	fields, err := s.storage.loadMap(ctx, s.recordKey(name))
	if err == nil && fields != nil && fields[revisionField] == "" {
		err = fmt.Errorf("%w: field %s", pleoauth.ErrRecordUnreadable, revisionField)
	}
	return fields, err
}

func snapshot(fields map[string]string) (pleoauth.Snapshot, error) {
	now := time.Now()
	snapshot := pleoauth.Snapshot{Revision: fields[revisionField], Run: run, Now: now, ReadAt: now}
	if fields == nil {
		return snapshot, nil
	}
	var err error
	if snapshot.Record, err = pleoauth.DecodeRecord(fields); err != nil {
		return pleoauth.Snapshot{}, fmt.Errorf("certstore: %w", err)
	}
	return snapshot, nil
}

// Swap replaces the record under the exclusive lock of its file, see
// [pleoauth.Store]. A lock that is not of this store and connection counts as
// lost. An error before the write wraps [pleoauth.ErrNotWritten], and one of the
// write itself where the storage is on the file system and still has the record
// of before.
func (s *Store) Swap(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) (pleoauth.Snapshot, error) {
	if err := s.ready(ctx); err != nil {
		return pleoauth.Snapshot{}, notWritten(err)
	}
	if old.Run != run {
		return pleoauth.Snapshot{}, pleoauth.ErrConflict
	}
	unlock, err := s.changing(ctx, name)
	if err != nil {
		return pleoauth.Snapshot{}, notWritten(err)
	}
	defer unlock()
	fields, err := s.fields(ctx, name)
	if err != nil {
		return pleoauth.Snapshot{}, notWritten(err)
	}
	if fields[revisionField] != old.Revision {
		return pleoauth.Snapshot{}, pleoauth.ErrConflict
	}
	// The last thing before the write: a lock lapses while one waits.
	if err := s.checkLock(name, o.Lock); err != nil {
		return pleoauth.Snapshot{}, err
	}
	noted := s.noted.Load()
	if noted != nil && pleoauth.ChangesState(old.Record, next) {
		// A grant that can be stored is worth more than a word about it.
		if s.noteChange(ctx, name) == nil {
			defer (*noted)()
		}
	}
	if fields, err = s.replace(ctx, name, next); err != nil {
		if s.unchanged(ctx, name, old.Revision) {
			return pleoauth.Snapshot{}, notWritten(err)
		}
		return pleoauth.Snapshot{}, fmt.Errorf("certstore: swap: %w", err)
	}
	if o.Notice.Kind != "" {
		o.Notice.Connection = name
		// Still under the lock, so that notices come in the order of changes.
		s.notices.publish(o.Notice)
	}
	return snapshot(fields)
}

func notWritten(err error) error {
	return fmt.Errorf("certstore: swap: %w: %w", pleoauth.ErrNotWritten, err)
}

// unchanged reports whether a write that failed has left the record as it was.
// It is asked under the record's exclusive lock, and so the answer stays true. A
// file is replaced in one step at the end, while another kind of storage may still
// take what it has failed to confirm.
func (s *Store) unchanged(ctx context.Context, name, revision string) bool {
	if _, ok := s.storage.Storage.(filenamer); !ok {
		return false
	}
	fields, err := s.fields(context.WithoutCancel(ctx), name)
	return err == nil && fields[revisionField] == revision
}

// replace writes the record's file, or removes it, and returns what it holds.
func (s *Store) replace(ctx context.Context, name string, next pleoauth.Record) (map[string]string, error) {
	if next.Empty() {
		return nil, s.storage.remove(ctx, s.recordKey(name))
	}
	fields := pleoauth.EncodeRecord(next)
	fields[revisionField] = rand.Text()
	return fields, s.storage.storeMap(ctx, s.recordKey(name), fields)
}

// List returns up to limit names of records that have a state, sorted. The
// cursor is the last name of the page before.
func (s *Store) List(ctx context.Context, cursor string, limit int) ([]string, string, error) {
	if err := s.ready(ctx); err != nil {
		return nil, "", fmt.Errorf("certstore: list: %w", err)
	}
	if limit < 1 {
		return nil, "", errors.New("certstore: list: limit is not positive")
	}
	if cursor != "" && pleoauth.CheckConnection(cursor) != nil {
		return nil, "", fmt.Errorf("certstore: list: %w", pleoauth.ErrInvalidCursor)
	}
	all, err := s.names(ctx)
	if err != nil {
		return nil, "", fmt.Errorf("certstore: list: %w", err)
	}
	var names []string
	for _, name := range all {
		if name <= cursor {
			continue
		}
		listed, err := s.hasState(ctx, name)
		if err != nil {
			return nil, "", fmt.Errorf("certstore: list: %w", err)
		}
		if !listed {
			continue
		}
		// One more than wanted tells that there is another page.
		if len(names) == limit {
			return names, names[limit-1], nil
		}
		names = append(names, name)
	}
	return names, "", nil
}

// names returns the names that have a file, sorted.
func (s *Store) names(ctx context.Context) ([]string, error) {
	dir := s.recordsKey()
	keys, err := s.storage.list(ctx, dir)
	if err != nil {
		return nil, err
	}
	found := make(map[string]struct{}, len(keys))
	for _, key := range keys {
		if name, ok := nameOf(trimDir(dir, key)); ok {
			found[name] = struct{}{}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// hasState reports whether a record is to be listed: one that cannot be read
// is, since it would otherwise never be found.
func (s *Store) hasState(ctx context.Context, name string) (bool, error) {
	fields, err := s.fields(ctx, name)
	if err == nil && fields != nil {
		var r pleoauth.Record
		if r, err = pleoauth.DecodeRecord(fields); err == nil {
			return r.State != "", nil
		}
	}
	if errors.Is(err, pleoauth.ErrRecordUnreadable) {
		return true, nil
	}
	return false, err
}
