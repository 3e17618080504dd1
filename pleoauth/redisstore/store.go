package redisstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Store keeps records in Redis. Make it with [New] and end it with Close.
//
// Each method bounds its exchanges with the server by its context's deadline
// and by [Options.CommandTimeout], and sends each command once. Errors that
// the interface does not name are the server's or the network's, wrapped.
type Store struct {
	options Options
	keys    keys
	client  client
	locker  *redislock.Client
	// unanswered are locks that may have been taken.
	unanswered unanswered
	notices    *notices
	// noted, if set, is called after swaps that note a change.
	noted atomic.Pointer[func()]
	// replicatedAt has the addresses of the masters that were seen with replicas.
	replicatedAt sync.Map
	// configRefused says that the user may not CONFIG GET.
	configRefused atomic.Bool

	closing  sync.Once
	closeErr error
}

// New returns a store for the records of id. It opens no connection. It
// returns an error that wraps [ErrOptions] if the options cannot work.
//
// The first store of a process ends go-redis's messages on standard error, see
// [SetDriverLog].
func New(o Options, id pleoauth.Identity) (*Store, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	silenceDriver()
	c := newClient(o)
	k := newKeys(o.KeyPrefix, id)
	return &Store{options: o, keys: k, client: c, locker: redislock.New(c), notices: newNotices(o, k, c)}, nil
}

// bound limits one exchange with the server.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.options.CommandTimeout)
}

// Ping returns nil if the server answers; of a Cluster, one of its masters.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	if err := s.client.do(ctx, s.keys.names(0), "ping").Err(); err != nil {
		return fmt.Errorf("redis: ping: %w", err)
	}
	return nil
}

// Close ends the subscriptions and closes all connections; commands under way
// fail. Closing again does nothing and returns the same.
func (s *Store) Close() error {
	s.closing.Do(func() {
		s.notices.close()
		s.closeErr = s.client.Close()
	})
	return s.closeErr
}

// milliseconds returns d for a command, at least 1: Redis takes 0 for an error
// or for 'at once'.
func milliseconds(d time.Duration) int64 { return max(1, d.Milliseconds()) }

// SingleServer reports whether there is one server at one address.
func (s *Store) SingleServer() bool { return s.options.MasterName == "" && !s.options.Cluster }

// Interface guards
var (
	_ pleoauth.DurabilityChecker = (*Store)(nil)
	_ pleoauth.Outbox            = (*Store)(nil)
	_ pleoauth.SingleServer      = (*Store)(nil)
	_ pleoauth.Store             = (*Store)(nil)
)
