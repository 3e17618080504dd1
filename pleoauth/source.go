package pleoauth

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/internal/pace"
)

// Source hands out tokens for connections, from memory where it can, and keeps
// the grants behind them alive in a store that all replicas share. It is safe
// for concurrent use.
type Source struct {
	store Store
	// settings may change while the source goes on.
	settings atomic.Pointer[settings]

	spill  spill
	log    atomic.Pointer[slog.Logger]
	random func(n int64) int64 // of delays
	dial   DialFunc
	roots  *x509.CertPool

	ending   func() bool // or nil
	observer atomic.Pointer[Observer]
	oldest   oldestLeft // what sweeps could not renew
	unopened unopened
	trouble  storeTrouble
	tracer   Tracer

	conns  *table
	absent absentNames // bounds what names that do not exist cost
	// subscription counts the times that notices may have been missed: what
	// was read before the last one is unconfirmed.
	subscription atomic.Uint64
	// runs are those of the store's server; replaced holds which has taken
	// which one's place; looking is set while a lost store is looked for.
	runs     runs
	replaced sync.Map
	looking  atomic.Bool
	unsaved  atomic.Int64 // pairs that are held
	starts   flowStarts
	// pace is that of the requests to Pleo; deaf is set while introspection knows no
	// refresh tokens, alone while the store has no replica in step.
	pace        *pace.Gate
	lane        *exchangeLane
	deaf, alone atomic.Bool
	heard       heard
	others      others
	// risks are what the last check of the store's durability found.
	risks          atomic.Pointer[[]DurabilityRisk]
	requireDurable bool
	checks         bool
	// restarted has the store's durability checked: a restart tells whether it has
	// kept everything.
	restarted chan struct{}

	// work waits for everything that outlives the call that started it.
	start   sync.Once
	work    sync.WaitGroup
	mu      sync.Mutex // guards closed and work.Add against Close
	closed  bool
	stop    chan struct{} // closed when Close begins
	abandon chan struct{} // closed when Close ends
}

// Option sets a collaborator of a [Source].
type Option func(*options)

type options struct {
	logger *slog.Logger
	dial   DialFunc
	roots  *x509.CertPool
	spill  string
	random func(n int64) int64

	requireDurable bool
	observer       Observer
	tracer         Tracer
	ending         func() bool
	checks         bool
}

// WithLogger sets where the source logs to. Default: [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithDialContext sets how connections to Pleo's servers are opened.
// Default: a [net.Dialer].
func WithDialContext(dial DialFunc) Option { return func(o *options) { o.dial = dial } }

// WithRootCAs sets the certificates that Pleo's servers are checked against.
// Default: the system's.
func WithRootCAs(roots *x509.CertPool) Option { return func(o *options) { o.roots = roots } }

// WithSpillDir names a directory on a local disk, for this process alone, where
// a pair that the store does not take is kept, sealed, until it does. It is
// created when needed. Default: none; such a pair is then lost if the process
// dies before the store is back.
func WithSpillDir(dir string) Option { return func(o *options) { o.spill = dir } }

// WithCheck has the source find out at its start whether its disk can be written to, and
// in the background whether the store does what it will be asked for, as
// [Source.CheckStore] does. Default: not before it is needed.
func WithCheck() Option { return func(o *options) { o.checks = true } }

// WithEnding sets how the source learns that the program is about to end, before
// Close is called: from then on it begins no refresh, so that fewer are under way
// when the process ends. ending is called before each refresh and must not block.
// Default: only Close ends it.
func WithEnding(ending func() bool) Option { return func(o *options) { o.ending = ending } }

// NewSource returns a source for the client in cfg, whose grants are kept in
// store, sealed with keys. It does no network, and owns store from then on.
// The error wraps [ErrConfig].
func NewSource(cfg Config, store Store, keys *Keyring, opts ...Option) (*Source, error) {
	if store == nil || keys == nil {
		return nil, fmt.Errorf("%w: a source needs a store and an encryption_key", ErrConfig)
	}
	o := options{logger: slog.Default(), random: rand.Int64N}
	for _, set := range opts {
		set(&o)
	}
	client, err := NewClient(cfg, o.dial, o.roots)
	if err != nil {
		return nil, err
	}
	s := &Source{
		store:  store,
		dial:   o.dial,
		roots:  o.roots,
		spill:  spill{dir: o.spill},
		random: o.random,
		conns:  newTable(),
		stop:   make(chan struct{}),

		abandon: make(chan struct{}),

		restarted: make(chan struct{}, 1),

		requireDurable: o.requireDurable,
		tracer:         o.tracer,
		ending:         o.ending,
		checks:         o.checks,
	}
	s.pace = pace.New(s.spread)
	s.lane = newExchangeLane()
	if single, ok := store.(SingleServer); ok {
		s.runs.single = single.SingleServer()
	}
	s.settings.Store(&settings{client: client, timing: client.cfg.timing(), keys: keys})
	s.log.Store(o.logger)
	s.observer.Store(&o.observer)
	store.Listen(s.receive)
	return s, nil
}

// SetLogger replaces the logger, for a program whose logging is configured
// anew while the source goes on.
func (s *Source) SetLogger(l *slog.Logger) { s.log.Store(l) }

func (s *Source) logger() *slog.Logger { return s.log.Load() }

// Start takes up what an earlier process left on disk and begins the work in
// the background. Calling it again does nothing; the first use of a connection
// calls it too.
func (s *Source) Start() {
	s.start.Do(func() {
		s.readSpill()
		s.goWork(s.housekeeping)
		s.goWork(s.sweeping)
		s.goWork(s.checkingDurability)
		if s.checks {
			s.checkDisk()
			s.goWork(s.checkAtStart)
		}
	})
}

// checkDisk finds out whether there is a disk for grants that the store does not take.
func (s *Source) checkDisk() {
	if s.spill.dir == "" {
		return
	}
	if err := s.spill.try(); err != nil {
		s.logger().Warn("grants that the store does not take could not be kept on disk", "error", err)
	}
}

// rightsAfter is how long after the start the store is asked for what takes rights: a
// process that ends at once need not know.
const rightsAfter = 5 * time.Second

// checkAtStart finds out what is wrong with the store, for the log and for health: at once
// whether it can be reached and lets this process in, and then the rest.
func (s *Source) checkAtStart() {
	ctx, cancel := s.command()
	s.storeAnswered(StorePing, s.store.Ping(ctx))
	cancel()
	s.pause(rightsAfter, nil)
	if !s.stopping() {
		_ = s.CheckStore(context.Background())
	}
}

// CheckStore finds out, before there is a connection to serve, whether the store's server
// does what it will be asked for. What is wrong is logged, and in [Source.Health]. The
// error wraps [ErrStoreUnavailable]. It is nil where the store has no server.
func (s *Source) CheckStore(ctx context.Context) error {
	if _, server := s.store.(StoreReasoner); !server {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.times().command)
	defer cancel()
	err := s.store.Ping(ctx)
	s.storeAnswered(StorePing, err)
	if err == nil {
		_, err = s.store.Due(ctx, 1)
		s.storeAnswered(StoreDue, err)
	}
	if err == nil {
		_, err = s.read(DefaultConnection)
		if errors.Is(err, ErrForeignRecord) || errors.Is(err, ErrRecordUnreadable) {
			err = nil
		}
	}
	if err != nil {
		return storeFailed(s.reasoned(err))
	}
	return nil
}

// Close refuses new refreshes, waits until those under way are stored, sees that the
// store still has the grants that this process has stored, and closes the store. It
// waits no longer than until ctx ends. Nothing depends on it being called.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.conns.each(func(c *connection) { c.stopTimer() })

	done := make(chan struct{})
	go func() {
		s.work.Wait()
		s.leaveWhatIsLost()
		close(done)
	}()
	var left error
	select {
	case <-done:
	case <-ctx.Done():
		left = fmt.Errorf("closing: work is still under way: %w", ctx.Err())
	}
	close(s.abandon)
	return errors.Join(left, s.store.Close())
}

// goWork runs f in a goroutine that Close waits for. It reports false, and
// runs nothing, once the source is closed.
func (s *Source) goWork(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(f)
	return true
}

// pause waits for d, or less if the source closes, or wake is closed or sent to.
func (s *Source) pause(d time.Duration, wake <-chan struct{}) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-wake:
	case <-s.stop:
	}
}

// stopping reports whether no refresh may begin any more.
func (s *Source) stopping() bool { return s.closing() || s.ending != nil && s.ending() }

// closing reports whether Close has been called.
func (s *Source) closing() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}
