package caddymodule

import (
	"context"
	"slices"
	"time"
)

// workerPatience is how long a process that ends waits for receivers of webhooks:
// what they have not taken by then is sent by another.
const workerPatience = 2 * time.Second

// started has the worker go on with an owner's settings, whose configuration is
// serving as a whole by now.
func (s *sharedSource) started(app *App) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.owners {
		if s.owners[i].app == app {
			s.owners[i].started = true
		}
	}
	return s.configureWorker()
}

// configureWorker gives the worker the settings of the newest owner that has
// started. Changes are noted as soon as any owner wants to tell of them.
func (s *sharedSource) configureWorker() error {
	if s.worker == nil {
		return nil
	}
	s.worker.Note(slices.ContainsFunc(s.owners, func(o owner) bool { return o.notify != nil }))
	for _, o := range slices.Backward(s.owners) {
		if o.notify == nil || o.started {
			return s.worker.Configure(o.notify)
		}
	}
	return s.worker.Configure(nil)
}

// closeWorker ends the worker, before its store is closed.
func (s *sharedSource) closeWorker() {
	if s.worker == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), workerPatience)
	defer cancel()
	s.worker.Close(ctx)
}
