package pleotest

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Emulator is the state of Pleo's two servers and the handlers that serve it.
// It is safe for concurrent use. [Server] puts it on the network.
type Emulator struct {
	// Auth is the authorisation server: /oauth/authorize, /oauth/token and
	// /oauth/token/introspect.
	Auth http.Handler
	// API is the external API server.
	API http.Handler
	// Control sets faults and reads counters for tests in other processes. It
	// has no authentication. The package documentation lists its routes.
	Control http.Handler

	settings settings
	log      *slog.Logger

	mu        sync.Mutex
	clients   map[string]Client
	families  map[string]*family
	tokens    map[string]*token
	codes     map[string]*code
	pending   map[string]pending
	jobs      map[string][]exportJob
	secrets   map[string]struct{}
	consent   consent
	counters  Counters
	faults    []*ActiveFault
	faultSeq  int
	early     bool
	oneFamily bool
	ignorant  Introspection
	limit     RateLimit
	ahead     time.Duration
	admitted  admitted
	traffic   traffic
	life      time.Duration
	changed   chan struct{}
	conns     map[net.Conn]struct{}
	saveErr   error

	// done ends every wait; work counts what must have ended when Close
	// returns, handlers those of a Server.
	closed   bool
	done     chan struct{}
	work     sync.WaitGroup
	handlers sync.WaitGroup
}

// NewEmulator makes an emulator. Without options it knows [DefaultClient] and
// [Companies], has no state file, and asks the user on a consent page.
// Options that are about listening are ignored.
func NewEmulator(options ...Option) (*Emulator, error) {
	s, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	return newEmulator(s)
}

func newEmulator(s settings) (*Emulator, error) {
	e := &Emulator{
		settings:  s,
		log:       s.logger,
		clients:   map[string]Client{},
		secrets:   map[string]struct{}{},
		pending:   map[string]pending{},
		conns:     map[net.Conn]struct{}{},
		consent:   s.consent,
		early:     s.earlyRefusal,
		oneFamily: s.sameFamily,
		ignorant:  s.introspection,
		limit:     s.rateLimit,
		ahead:     s.clockAhead,
		life:      s.accessTokenLife,
		changed:   make(chan struct{}),
		done:      make(chan struct{}),
	}
	e.settings.authURL = cmp.Or(s.authURL, "https://auth.pleo.io")
	e.settings.apiURL = cmp.Or(s.apiURL, "https://external.pleo.io")
	e.forget()
	if s.stateFile != "" {
		if err := e.loadIfThere(s.stateFile); err != nil {
			return nil, err
		}
	}
	// After the file, so that what the program says about a client wins over
	// what was saved about it.
	for _, client := range s.clients {
		if err := e.AddClient(client); err != nil {
			return nil, err
		}
	}
	e.Auth = e.authHandler()
	e.API = e.apiHandler()
	e.Control = e.controlHandler()
	return e, nil
}

// forget drops every authorisation, token and code.
func (e *Emulator) forget() {
	e.families = map[string]*family{}
	e.tokens = map[string]*token{}
	e.codes = map[string]*code{}
	e.jobs = map[string][]exportJob{}
}

// Close ends every delay, hold and stream at once, closes connections that
// were upgraded, and waits for what the emulator does in the background. A
// request that was waiting to be processed is dropped unprocessed.
func (e *Emulator) Close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		close(e.done)
	}
	for conn := range e.conns {
		_ = conn.Close()
	}
	e.mu.Unlock()
	e.work.Wait()
}

// Wait blocks until the counters satisfy done, or ctx ends, whose error it
// then returns. It is told of changes and does not poll.
func (e *Emulator) Wait(ctx context.Context, done func(Counters) bool) error {
	for {
		e.mu.Lock()
		counters, changed := e.counters, e.changed
		e.mu.Unlock()
		if done(counters) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// SetAccessTokenLife sets how long access tokens issued from now on live.
func (e *Emulator) SetAccessTokenLife(life time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.life = life
}

// SetEarlyRefusal says whether the API refuses a token before it has read the
// request's body (true) or after (false, the default). Clients that send a
// large body meet the first as a broken connection while they write.
func (e *Emulator) SetEarlyRefusal(early bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.early = early
}

// SetSecondConsentReplacing says whether a consent from now on is the same
// authorisation as the last one of the same company to the same client (true),
// or independent of it (false); see [WithSecondConsentReplacing].
func (e *Emulator) SetSecondConsentReplacing(replacing bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.oneFamily = replacing
}

// pause waits, whether or not the client still does: a server finishes what it
// has begun. It reports false if the emulator was closed meanwhile.
func (e *Emulator) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.done:
		return false
	}
}

// background runs do after a delay, unless the emulator is closed before.
func (e *Emulator) background(delay time.Duration, do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	e.work.Go(func() {
		if e.pause(delay) {
			do()
		}
	})
}

// adopt makes Close close a connection that net/http no longer knows of.
func (e *Emulator) adopt(conn net.Conn) (release func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = conn.Close()
	}
	e.conns[conn] = struct{}{}
	return func() {
		_ = conn.Close()
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.conns, conn)
	}
}

// tracked counts a handler as running, and refuses requests after Close.
func (e *Emulator) tracked(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			http.Error(w, "the emulator is closed", http.StatusServiceUnavailable)
			return
		}
		e.handlers.Add(1)
		e.mu.Unlock()
		defer e.handlers.Done()
		next.ServeHTTP(w, r)
	})
}
