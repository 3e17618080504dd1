package certstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// sweepEvery is how often flows that nobody finished are looked for, and
	// sweepAtMost how many are looked at then.
	sweepEvery  = time.Minute
	sweepAtMost = 2000
	// maxFlows bounds flows under way: whoever may start one could otherwise
	// fill the disk faster than flows expire.
	maxFlows = 10_000
)

// errTooManyFlows is returned when maxFlows are under way.
var errTooManyFlows = errors.New("too many flows are under way")

// flowSweep remembers when flows were last swept and how many there are.
type flowSweep struct {
	mu    sync.Mutex
	last  time.Time
	count int
}

// The fields of a flow's file.
const (
	flowExpires = "expires" // Unix milliseconds
	flowData    = "data"    // base64
)

func (s *Store) flowsKey() string { return path.Join(s.storage.root, "flows") }

// flowKey hashes the id: it may be of any length and kind.
func (s *Store) flowKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return path.Join(s.flowsKey(), hex.EncodeToString(sum[:])+suffix)
}

// PutFlow keeps a flow's data for life. It returns an error if ten thousand
// flows are under way.
func (s *Store) PutFlow(ctx context.Context, id string, data []byte, life time.Duration) error {
	if err := s.ready(ctx); err != nil {
		return fmt.Errorf("certstore: put flow: %w", err)
	}
	if err := s.countFlow(ctx); err != nil {
		return fmt.Errorf("certstore: put flow: %w", err)
	}
	err := s.storage.storeMap(ctx, s.flowKey(id), map[string]string{
		flowExpires: strconv.FormatInt(time.Now().Add(life).UnixMilli(), 10),
		flowData:    base64.StdEncoding.EncodeToString(data),
	})
	if err != nil {
		return fmt.Errorf("certstore: put flow: %w", err)
	}
	return nil
}

// Flow returns a flow's data and leaves it, or [pleoauth.ErrNoFlow].
func (s *Store) Flow(ctx context.Context, id string) ([]byte, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("certstore: flow: %w", err)
	}
	return s.loadFlow(ctx, s.flowKey(id))
}

// TakeFlow returns a flow's data and removes it, or [pleoauth.ErrNoFlow].
func (s *Store) TakeFlow(ctx context.Context, id string) ([]byte, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("certstore: flow: %w", err)
	}
	unlock, err := s.exclusive(ctx, "flows.swap")
	if err != nil {
		return nil, fmt.Errorf("certstore: flow: %w", err)
	}
	defer unlock()
	data, err := s.loadFlow(ctx, s.flowKey(id))
	if err != nil {
		return nil, err
	}
	if err := s.storage.remove(ctx, s.flowKey(id)); err != nil {
		return nil, fmt.Errorf("certstore: flow: %w", err)
	}
	return data, nil
}

func (s *Store) loadFlow(ctx context.Context, key string) ([]byte, error) {
	fields, err := s.storage.loadMap(ctx, key)
	if errors.Is(err, pleoauth.ErrRecordUnreadable) {
		return nil, pleoauth.ErrNoFlow
	}
	if err != nil {
		return nil, fmt.Errorf("certstore: flow: %w", err)
	}
	expires, errExpires := strconv.ParseInt(fields[flowExpires], 10, 64)
	data, errData := base64.StdEncoding.DecodeString(fields[flowData])
	if fields == nil || errExpires != nil || errData != nil || time.Now().UnixMilli() >= expires {
		return nil, pleoauth.ErrNoFlow
	}
	return data, nil
}

// countFlow makes room for another flow.
func (s *Store) countFlow(ctx context.Context) error {
	s.flows.mu.Lock()
	defer s.flows.mu.Unlock()
	if time.Since(s.flows.last) >= sweepEvery {
		count, err := s.sweepFlows(ctx)
		if err != nil {
			return err
		}
		s.flows.last, s.flows.count = time.Now(), count
	}
	if s.flows.count >= maxFlows {
		return errTooManyFlows
	}
	s.flows.count++
	return nil
}

// sweepFlows removes some of the flows that have expired and returns how many
// files are left.
func (s *Store) sweepFlows(ctx context.Context) (int, error) {
	keys, err := s.storage.list(ctx, s.flowsKey())
	if err != nil {
		return 0, err
	}
	// From anywhere: the same ones would be looked at every time otherwise.
	start := 0
	if len(keys) > sweepAtMost {
		start = rand.IntN(len(keys)) //nolint:gosec // it spreads work, and protects nothing
	}
	left := 0
	for i := range keys {
		key := keys[(start+i)%len(keys)]
		if !strings.HasSuffix(key, suffix) {
			continue
		}
		left++
		if i >= sweepAtMost {
			continue
		}
		if _, err := s.loadFlow(ctx, key); errors.Is(err, pleoauth.ErrNoFlow) {
			if err := s.storage.Delete(ctx, key); err != nil {
				return 0, err
			}
			left--
		}
	}
	return left, nil
}
