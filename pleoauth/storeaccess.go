package pleoauth

import (
	"context"
	"errors"
	"fmt"
)

// command returns a context for one exchange with the store, bound to nobody's
// request: what it does must not be half done because a caller went away.
func (s *Source) command() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), s.times().command)
}

// read reads a record and checks that it is this client's.
func (s *Source) read(name string) (Snapshot, error) {
	ctx, cancel := s.command()
	defer cancel()
	snap, err := s.store.Read(ctx, name)
	s.runs.refusal(err)
	s.storeAnswered(StoreRead, err)
	if err != nil {
		return snap, err
	}
	s.noteRun(name, snap.Run)
	if snap.Revision != "" && (snap.Issuer != s.config().AuthServer || snap.ClientID != s.config().ClientID) {
		return snap, fmt.Errorf("%w: the store has it for client %q of %s", ErrForeignRecord, snap.ClientID, snap.Issuer)
	}
	return snap, nil
}

// swapAttempts bounds how often a write is tried against a record that others
// are changing.
const swapAttempts = 8

// apply makes a conditional write, reading the record again whenever it has
// changed since. It returns the record as it is afterwards, and errRefused if
// the write's condition does not hold.
func (s *Source) apply(name string, snap Snapshot, w write) (Snapshot, error) {
	return s.applyWith(name, snap, w, SwapOptions{})
}

// applyReplicated is apply for what must not be forgotten, a mark or a grant: it
// waits until the store's replicas have it, too. [ErrNotReplicated] comes with
// the record as it is afterwards. lock may be nil.
func (s *Source) applyReplicated(name string, snap Snapshot, w write, lock Lock) (Snapshot, error) {
	return s.applyWith(name, snap, w, SwapOptions{Lock: lock, ReplicaWait: s.times().replicas})
}

func (s *Source) applyWith(name string, snap Snapshot, w write, o SwapOptions) (Snapshot, error) {
	for range swapAttempts {
		next, err := w(snap)
		if errors.Is(err, errDone) {
			return snap, nil
		}
		if err != nil {
			return snap, err
		}
		next.Issuer, next.ClientID = s.config().AuthServer, s.config().ClientID
		o.Notice = Notice{}
		if next.Version != snap.Version {
			o.Notice = Notice{Kind: NoticeChanged, Connection: name, Version: next.Version}
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.times().command+o.ReplicaWait)
		after, err := s.store.Swap(ctx, name, snap, next, o)
		cancel()
		s.storeAnswered(StoreSwap, err)
		if err == nil || errors.Is(err, ErrNotReplicated) {
			if o.ReplicaWait > 0 {
				s.noteAlone(after.Alone)
			}
			return after, err
		}
		if !errors.Is(err, ErrConflict) {
			return snap, err
		}
		if snap, err = s.read(name); err != nil {
			return snap, err
		}
	}
	return snap, fmt.Errorf("%w: %d times in a row", ErrConflict, swapAttempts)
}

// purpose binds a sealed grant to its client and its connection.
func (s *Source) purpose(name string) string {
	return "grant\x00" + s.config().AuthServer + "\x00" + s.config().ClientID + "\x00" + name
}

func storeFailed(err error) error { return fmt.Errorf("%w: %w", ErrStoreUnavailable, err) }
