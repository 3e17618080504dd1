package caddymodule

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// closings are the sources of earlier configurations that are being closed. A
// process that exits waits for them, too.
var closings sync.WaitGroup

// graceOver is closed when a process that exits has stopped its servers: the grace
// period of all calls is over then, also of those that an earlier configuration
// serves.
var graceOver = make(chan struct{})

func init() {
	caddy.OnExit(func(context.Context) {
		close(graceOver)
		closings.Wait()
	})
}

// markLife is how long a refresh that is under way may take to be answered: the
// life of its mark in the store.
func markLife(cfg pleoauth.Config) time.Duration { return cfg.RefreshTimeout + 5*time.Second }

// close ends the worker and then the source, which closes the store of both. With
// grace it first waits for the calls that may still need the source, until grace
// is closed.
//
// The source has a deadline of its own, which calls, streams and receivers of
// webhooks neither shorten nor put off: time for a refresh that is under way to
// be answered, or given up, and as much again to store it.
func (s *sharedSource) close(grace <-chan struct{}) error {
	var worker sync.WaitGroup
	worker.Go(s.closeWorker)
	if grace != nil {
		s.awaitCalls(grace)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*markLife(s.source.Config()))
	defer cancel()
	worker.Wait() // workerPatience at most, during which refreshes go on
	return s.source.Close(ctx)
}

// awaitCalls waits until no call needs the source, for the life of a mark at most.
func (s *sharedSource) awaitCalls(grace <-chan struct{}) {
	limit := time.NewTimer(markLife(s.source.Config()))
	defer limit.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.calls.Load() > 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			return
		case <-grace:
			return
		}
	}
}
