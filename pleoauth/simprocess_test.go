package pleoauth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// process is a replica that can be paused, cut off and killed.
type process struct {
	*replica
	sim     *sim
	number  int
	dead    atomic.Bool
	unheard atomic.Bool  // the answer to the operation under way is lost
	sending atomic.Int64 // requests to the token endpoint
	mu      sync.Mutex
	ops     map[string]int
	until   time.Time // paused
	faults  map[string]func(*process)
	salt    uint64
}

// start begins a process, with what another left on its disk.
func (s *sim) start(disk map[string][]byte) *process {
	p := &process{sim: s, ops: map[string]int{}, faults: map[string]func(*process){}}
	s.mu.Lock()
	p.number = len(s.procs)
	p.salt = rand.New(rand.NewPCG(s.seed, uint64(100+p.number))).Uint64()
	s.procs = append(s.procs, p)
	s.mu.Unlock()
	dir := filepath.Join(s.t.TempDir(), "spill")
	require.NoError(s.t, os.MkdirAll(dir, 0o700))
	for name, content := range disk {
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	keys, err := pleoauth.NewKeyring(s.key)
	require.NoError(s.t, err)
	store := s.store.client()
	store.step = p.step
	p.replica = &replica{store: store, spill: dir}
	jitter := rand.New(rand.NewPCG(p.salt, 2))
	var jitterLock sync.Mutex
	var logTo io.Writer = s.log
	if s.tell {
		logTo = io.MultiWriter(s.log, t2w{s, p})
	}
	p.Source, err = pleoauth.NewSource(s.cfg, store, keys,
		pleoauth.WithDialContext(p.dial), pleoauth.WithSpillDir(dir),
		pleoauth.WithRandom(func(n int64) int64 {
			jitterLock.Lock()
			defer jitterLock.Unlock()
			return jitter.Int64N(n)
		}),
		pleoauth.WithLogger(slog.New(slog.NewTextHandler(logTo, nil))))
	require.NoError(s.t, err)
	s.mu.Lock()
	s.all = append(s.all, p.replica)
	s.mu.Unlock()
	p.Start()
	return p
}

type t2w struct {
	s *sim
	p *process
}

func (w t2w) Write(b []byte) (int, error) {
	w.s.say("%c: %s", 'A'+rune(w.p.number), strings.TrimSpace(string(b[strings.Index(string(b), "level="):])))
	return len(b), nil
}

// step happens before and after each operation: it takes time, may meet a
// fault, and does not happen in a process that is paused or dead.
func (p *process) step(op, when string) error {
	if p.dead.Load() {
		return errDead
	}
	key := op + " " + when
	p.mu.Lock()
	p.ops[key]++
	n := p.ops[key]
	fault := p.faults[fmt.Sprintf("%s %d", key, n)]
	wait := latency(p.salt, key, n)
	p.mu.Unlock()
	time.Sleep(wait)
	if p.sim.tell {
		p.sim.say("%c %s #%d", 'A'+rune(p.number), key, n)
	}
	if fault != nil {
		fault(p)
	}
	// Not read and watch: a read that a notice asked for is not tried again, and
	// so a live token is served until it expires (seed 710804 shows it).
	if !slices.Contains([]string{"pleo", "dial"}, op) && p.unheard.CompareAndSwap(true, false) {
		return errUnheard
	}
	return p.alive()
}

var errUnheard = errors.New("the answer is lost")

func latency(salt uint64, key string, n int) time.Duration {
	h := salt
	for _, b := range []byte(key) {
		h = h*1099511628211 ^ uint64(b)
	}
	r := rand.New(rand.NewPCG(h, uint64(n)))
	return 50*time.Microsecond + time.Duration(r.Int64N(int64(3*time.Millisecond)))
}

var errDead = errors.New("this process is dead")

func (p *process) alive() error {
	for {
		if p.dead.Load() {
			return errDead
		}
		p.mu.Lock()
		rest := time.Until(p.until)
		p.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		time.Sleep(rest)
	}
}

func (p *process) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if err := p.step("dial", "before"); err != nil {
		return nil, err
	}
	conn, err := p.sim.dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &simConn{Conn: conn, p: p, dialled: time.Now()}, nil
}

// simConn is a connection to Pleo. The pause before a write comes before the
// clock check in the connection above it: what lies between check and system
// call is not for a protocol to exclude.
type simConn struct {
	net.Conn
	p       *process
	dialled time.Time
	sends   atomic.Bool
	once    sync.Once
}

func (c *simConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if gone := c.p.step("pleo", "read"); gone != nil {
		return 0, gone
	}
	if late := c.p.sim.mutant.answerWithin; late > 0 && time.Since(c.dialled) > late {
		return 0, errors.New("mutant: a deadline has passed")
	}
	return n, err
}

func (c *simConn) Write(b []byte) (int, error) {
	if c.p.sim.mutant.pauseInWrite {
		if err := c.p.step("pleo", "write"); err != nil {
			return 0, err
		}
	}
	if c.p.dead.Load() {
		return 0, errDead
	}
	if strings.HasPrefix(string(b), "POST /oauth/token ") {
		c.p.sending.Add(1)
		c.sends.Store(true)
	}
	if resend := c.p.sim.mutant.resend; resend && strings.HasPrefix(string(b), "POST /oauth/token ") {
		sent := slices.Clone(b)
		n, err := c.Conn.Write(b)
		time.AfterFunc(5*time.Second, func() { c.p.sendAgain(sent) })
		return n, err
	}
	return c.Conn.Write(b)
}

// Close counts the request as under way for a little longer: its answer has to
// reach the store.
func (c *simConn) Close() error {
	if c.sends.Load() {
		c.once.Do(func() { time.AfterFunc(5*time.Second, func() { c.p.sending.Add(-1) }) })
	}
	return c.Conn.Close()
}

// sendAgain is what a layer below does that thinks it knows better.
func (p *process) sendAgain(request []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	conn, err := p.sim.dial(ctx, "tcp", "auth.localhost:80")
	if err != nil {
		return
	}
	_, _ = conn.Write(request)
	_, _ = conn.Read(make([]byte, 1024))
	_ = conn.Close()
}

// kill ends a process at once, and starts another on its disk a little later.
func (p *process) kill(why string, restartAfter time.Duration) {
	if p.dead.Swap(true) {
		return
	}
	s := p.sim
	s.say("%c is killed %s", 'A'+rune(p.number), why)
	disk := map[string][]byte{}
	files, _ := os.ReadDir(p.spill)
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(p.spill, f.Name()))
		if err == nil && filepath.Ext(f.Name()) == ".pair" {
			disk[f.Name()] = content
		}
	}
	if p.sending.Load() > 0 || s.store.record("default").Mark != nil || p.Health(context.Background()).Unsaved > 0 {
		s.mu.Lock()
		s.lostBy = append(s.lostBy, "kill") // between Pleo's processing and the store's write
		s.mu.Unlock()
	}
	time.AfterFunc(restartAfter, func() {
		if s.over.Load() {
			return
		}
		n := s.start(disk)
		s.say("%c takes the place of %c", 'A'+rune(n.number), 'A'+rune(p.number))
	})
}

func (p *process) pause(d time.Duration) {
	p.sim.say("%c is paused for %v", 'A'+rune(p.number), d)
	p.mu.Lock()
	p.until = time.Now().Add(d)
	p.mu.Unlock()
}
