package redisstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// revisionField is the field of a record's hash that swaps compare.
const revisionField = "rev"

// errAnswer is returned when a script's answer is not of the expected form.
var errAnswer = errors.New("redis: unexpected answer")

// Read returns the record as the master has it. It returns an error that wraps
// [pleoauth.ErrRecordUnreadable] if the record is of another format.
func (s *Store) Read(ctx context.Context, name string) (pleoauth.Snapshot, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	// Taken before asking: time on the way then shortens lives, it never
	// lengthens them.
	readAt := time.Now()
	answer, err := readScript.Run(ctx, s.client, []string{s.keys.record(name)}).Slice()
	if err != nil {
		return pleoauth.Snapshot{}, fmt.Errorf("redis: read: %w", err)
	}
	if len(answer) != 4 {
		return pleoauth.Snapshot{}, fmt.Errorf("%w: read", errAnswer)
	}
	snapshot, err := clockOf(answer[0], answer[1], answer[2], readAt)
	if err != nil {
		return pleoauth.Snapshot{}, err
	}
	fields, err := stringMap(answer[3])
	if err != nil || len(fields) == 0 {
		return snapshot, err
	}
	if snapshot.Revision = fields[revisionField]; snapshot.Revision == "" {
		return pleoauth.Snapshot{}, fmt.Errorf("redis: read: %w: field %s", pleoauth.ErrRecordUnreadable, revisionField)
	}
	if snapshot.Record, err = pleoauth.DecodeRecord(fields); err != nil {
		return pleoauth.Snapshot{}, fmt.Errorf("redis: read: %w", err)
	}
	return snapshot, nil
}

// Swap replaces the record in one script, see [pleoauth.Store]. A lock that is
// not of this store and connection counts as lost. Only a swap that was made
// waits for replicas, within [Options.CommandTimeout] and o.ReplicaWait in all.
//
// An error wraps [pleoauth.ErrNotWritten] if the script never began to leave this
// process, or if Redis refused it before its first write. Which refusals prove
// that is known for Redis 7 and later; in 6.2 they are told in other words, and
// prove nothing here.
func (s *Store) Swap(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) (pleoauth.Snapshot, error) {
	args, err := s.swapArgs(name, old, next, o)
	if err != nil {
		return pleoauth.Snapshot{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.options.CommandTimeout+max(0, o.ReplicaWait))
	defer cancel()
	on := s.client.pin()
	defer on.close()
	readAt := time.Now()
	answer, err := s.runSwap(ctx, on, name, args)
	switch {
	case err != nil && (!on.written.Load() || refusedUnwritten(err)):
		return pleoauth.Snapshot{}, fmt.Errorf("redis: swap: %w: %w", pleoauth.ErrNotWritten, err)
	case err != nil:
		return pleoauth.Snapshot{}, fmt.Errorf("redis: swap: %w", err)
	}
	switch answer[0] {
	case "OK":
	case "CONFLICT":
		return pleoauth.Snapshot{}, pleoauth.ErrConflict
	case "LOCK":
		return pleoauth.Snapshot{}, pleoauth.ErrLockLost
	default:
		return pleoauth.Snapshot{}, fmt.Errorf("%w: swap", errAnswer)
	}
	if noted := s.noted.Load(); noted != nil && args[9] != "" {
		(*noted)()
	}
	snapshot, err := clockOf(answer[1], answer[2], answer[3], readAt)
	if err != nil {
		return snapshot, err
	}
	if !next.Empty() {
		snapshot.Revision, _ = args[3].(string)
		// The same as the next Read will say, times in whole milliseconds.
		if snapshot.Record, err = pleoauth.DecodeRecord(pleoauth.EncodeRecord(next)); err != nil {
			return snapshot, err
		}
	}
	snapshot.Alone, err = s.replicated(ctx, on, answer[4], answer[5], o.ReplicaWait)
	return snapshot, err
}

// runSwap runs swap.lua and returns its answer.
func (s *Store) runSwap(ctx context.Context, on *pinned, name string, args []any) ([]any, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	answer, err := swapScript.Run(ctx, on, s.keys.swap(name), args...).Slice()
	if err == nil && len(answer) != 6 {
		err = errAnswer
	}
	return answer, err
}

// swapArgs returns the arguments of swap.lua.
func (s *Store) swapArgs(name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) ([]any, error) {
	token, err := s.lockToken(name, o.Lock)
	if err != nil {
		return nil, err
	}
	notice := ""
	if o.Notice.Kind != "" {
		o.Notice.Connection = name
		if notice, err = encodeNotice(o.Notice); err != nil {
			return nil, err
		}
	}
	due, listed := "", ""
	if !next.Empty() && !next.Due.IsZero() {
		due = strconv.FormatInt(next.Due.UnixMilli(), 10)
	}
	if next.State != "" {
		listed = "1"
	}
	noted := ""
	if s.noted.Load() != nil && pleoauth.ChangesState(old.Record, next) {
		noted = "1"
	}
	args := []any{old.Revision, old.Run, token, newRevision(), name, due, listed, s.keys.notice(name), notice, noted}
	if !next.Empty() {
		for field, value := range pleoauth.EncodeRecord(next) {
			args = append(args, field, value)
		}
	}
	return args, nil
}

// newRevision returns 128 random bits.
func newRevision() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// clockOf returns a snapshot with the run and the clock of a script's answer.
func clockOf(run, seconds, microseconds any, readAt time.Time) (pleoauth.Snapshot, error) {
	id, _ := run.(string)
	if id == "" {
		// Without it a store that has forgotten something cannot be told.
		return pleoauth.Snapshot{}, errors.New("redis: the server does not tell its run_id")
	}
	now, err := serverClock(seconds, microseconds)
	return pleoauth.Snapshot{Run: id, Now: now, ReadAt: readAt}, err
}

// serverClock reads the answer of TIME.
func serverClock(seconds, microseconds any) (time.Time, error) {
	sec, errSec := strconv.ParseInt(fmt.Sprint(seconds), 10, 64)
	usec, errUsec := strconv.ParseInt(fmt.Sprint(microseconds), 10, 64)
	if errors.Join(errSec, errUsec) != nil {
		return time.Time{}, fmt.Errorf("%w: time", errAnswer)
	}
	return time.Unix(sec, usec*1000).UTC(), nil
}

// stringMap reads the answer of HGETALL.
func stringMap(answer any) (map[string]string, error) {
	pairs, ok := answer.([]any)
	if !ok || len(pairs)%2 != 0 {
		return nil, fmt.Errorf("%w: record", errAnswer)
	}
	fields := make(map[string]string, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		field, okField := pairs[i].(string)
		value, okValue := pairs[i+1].(string)
		if !okField || !okValue {
			return nil, fmt.Errorf("%w: record", errAnswer)
		}
		fields[field] = value
	}
	return fields, nil
}

func encodeNotice(n pleoauth.Notice) (string, error) {
	text, err := json.Marshal(n)
	if err != nil {
		return "", fmt.Errorf("redis: notice: %w", err)
	}
	return string(text), nil
}
