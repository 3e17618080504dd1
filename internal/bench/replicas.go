//go:build linux

package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// replica is the library as a replica of the proxy has it, in this process.
type replica struct {
	*pleoauth.Source
	store *watchedStore
}

// watchedStore notes when a new grant is given to the store, and counts notices.
type watchedStore struct {
	*redisstore.Store
	stored  atomic.Int64 // Unix nanoseconds
	notices atomic.Int64
}

// Swap notes the moment before a new grant leaves for the store: what follows
// includes the way there.
func (w *watchedStore) Swap(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) (pleoauth.Snapshot, error) {
	if next.Generation > old.Generation {
		w.stored.Store(time.Now().UnixNano())
	}
	return w.Store.Swap(ctx, name, old, next, o)
}

// Listen counts what the listener is told.
func (w *watchedStore) Listen(receive func(pleoauth.Notice)) {
	w.Store.Listen(func(n pleoauth.Notice) {
		w.notices.Add(1)
		receive(n)
	})
}

// replicas opens n of them.
func (b *bench) replicas(s *stand.Stand, n int) ([]*replica, func(), error) {
	var all []*replica
	closeAll := func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 10*time.Second)
		defer cancel()
		for _, r := range all {
			_ = r.Close(ctx)
		}
	}
	keys, err := pleoauth.NewKeyring(s.Key)
	if err != nil {
		return nil, nil, err
	}
	for range n {
		store, err := s.Store()
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		r := &replica{store: &watchedStore{Store: store}}
		r.Source, err = pleoauth.NewSource(pleoauth.Config{
			AuthServer: s.Tokens.URL, APIServer: "http://" + s.Upstream.Addr, ClientID: stand.ClientID, ClientSecret: "secret",
		}, r.store, keys, pleoauth.WithLogger(slog.New(slog.DiscardHandler)))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		all = append(all, r)
	}
	return all, closeAll, nil
}

// read has every replica read the given connections.
func read(ctx context.Context, all []*replica, names []string) error {
	for _, r := range all {
		for _, name := range names {
			if _, err := r.Token(ctx, name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// refreshAndServe has one replica refresh a connection and returns, for each other
// one, how long after the new grant was given to the store it handed out its token.
func refreshAndServe(ctx context.Context, by *replica, others []*replica, name string) ([]time.Duration, error) {
	old, err := by.Token(ctx, name)
	if err != nil {
		return nil, err
	}
	served := make([]time.Time, len(others))
	errs := make([]error, len(others))
	var group sync.WaitGroup
	for i, other := range others {
		group.Go(func() {
			for ctx.Err() == nil {
				token, err := other.Token(ctx, name) // held by the gate meanwhile
				if err != nil || token.Version() != old.Version() {
					served[i], errs[i] = time.Now(), err
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	err = by.Refresh(ctx, name)
	group.Wait()
	for _, e := range errs {
		if e != nil {
			err = e
		}
	}
	if err != nil {
		return nil, err
	}
	stored := time.Unix(0, by.store.stored.Load())
	took := make([]time.Duration, len(others))
	for i, at := range served {
		took[i] = at.Sub(stored)
	}
	return took, nil
}
