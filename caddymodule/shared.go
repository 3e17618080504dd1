package caddymodule

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// sources holds what outlives a configuration: a reload must keep one cache,
// and one refresh in flight for each connection.
var sources = caddy.NewUsagePool()

// sharedSource is a source in the pool. It is told which configuration uses it,
// since it outlives the one that made it, and with that its logger.
type sharedSource struct {
	source *pleoauth.Source
	place  string // of its store
	// worker tells what becomes of connections; nil: the store notes no changes.
	worker *webhook.Worker
	// calls counts those that may still need the source: Caddy cleans a
	// configuration up while its requests are still being served.
	calls atomic.Int64

	mu     sync.Mutex
	owners []owner // the last one's settings hold
}

// owner is a configuration that uses a source.
type owner struct {
	app    *App
	config pleoauth.Config
	keys   *pleoauth.Keyring
	logger *slog.Logger
	notify *webhook.Config // nil: nobody is told
	// started is set once the configuration serves as a whole.
	started bool
}

// attach makes the owner's settings and log the source's.
func (s *sharedSource) attach(o owner) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.source.Reconfigure(o.config, o.keys); err != nil {
		return err
	}
	s.source.SetLogger(o.logger)
	s.owners = append(s.owners, o)
	return s.configureWorker()
}

// detach gives the source back to the newest owner that is left: after a
// refused reload that is the configuration which goes on serving.
func (s *sharedSource) detach(app *App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.owners) - 1
	if last < 0 {
		return nil
	}
	wasLast := s.owners[last].app == app
	s.owners = slices.DeleteFunc(s.owners, func(o owner) bool { return o.app == app })
	if len(s.owners) == 0 {
		return nil
	}
	err := s.configureWorker()
	if !wasLast {
		return err
	}
	o := s.owners[len(s.owners)-1]
	s.source.SetLogger(o.logger)
	return errors.Join(err, s.source.Reconfigure(o.config, o.keys))
}

func (s *sharedSource) enter() { s.calls.Add(1) }
func (s *sharedSource) leave() { s.calls.Add(-1) }

// Destruct closes the source. In a reload that happens in the background, once the
// calls of the old configuration are answered, since Caddy waits for Destruct
// under its configuration lock. When the process exits, Caddy has stopped its
// servers by now, and given calls their grace period: none is waited for, and the
// process ends when Destruct has returned.
func (s *sharedSource) Destruct() error {
	if caddy.Exiting() {
		return s.close(nil)
	}
	closings.Go(func() {
		if err := s.close(graceOver); err != nil {
			caddy.Log().Named("pleo").Sugar().Warnf("closing what the last configuration used: %v", err)
		}
	})
	return nil
}

// replaces reports whether there is another source for the same store: this one takes its
// place, with another password perhaps.
func (s *sharedSource) replaces() bool {
	found := false
	sources.Range(func(_, value any) bool {
		other, ok := value.(*sharedSource)
		found = ok && other != s && other.place == s.place
		return !found
	})
	return found
}

// release gives back what an app acquired. key is the one it was acquired by.
func (s *sharedSource) release(app *App, key string) error {
	err := s.detach(app)
	_, deleteErr := sources.Delete(key)
	return errors.Join(err, deleteErr)
}

// Interface guards
var (
	_ caddy.Destructor = (*sharedSource)(nil)
)
