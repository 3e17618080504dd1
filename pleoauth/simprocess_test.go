package pleoauth_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
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
	ending  atomic.Bool // it has been told that it will end
	unheard atomic.Bool // the answer to the operation under way is lost
	mu      sync.Mutex
	ops     map[string]int
	until   time.Time // paused
	faults  map[string]func()
	pace    pace
	odd     struct{ way, times int } // the answers that it gets next
	// questions are those about refresh tokens; guarded by sim.mu.
	questions map[string]*question
	vain      time.Time // when it last took long to reach Pleo; guarded by sim.mu
	salt      uint64
	inside    map[string]bool // the connections whose locks it holds; guarded by sim.mu
}

func (p *process) String() string { return string(rune('A' + p.number)) }

// start begins a process, with what another left on its disk.
func (s *sim) start(disk map[string][]byte) *process {
	p := &process{sim: s, ops: map[string]int{}, faults: map[string]func(){}, questions: map[string]*question{}, inside: map[string]bool{}}
	s.mu.Lock()
	p.number = s.started
	s.started++
	s.mu.Unlock()
	p.salt = rand.New(rand.NewPCG(s.seed, uint64(100+p.number))).Uint64()
	dir := filepath.Join(s.disk, p.String())
	for name, content := range disk {
		require.NoError(s.t, os.MkdirAll(dir, 0o700))
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	keys, err := pleoauth.NewKeyring(s.key)
	require.NoError(s.t, err)
	store := s.store.client()
	store.step = p.step
	store.locked = func(name string) { s.locked(p, name) }
	store.unlocked = func(name string) { s.unlocked(p, name) }
	p.replica = &replica{store: store, spill: dir}
	jitter := rand.New(rand.NewPCG(p.salt, 2))
	var jitterLock sync.Mutex
	var logTo io.Writer = s.log
	if s.tell {
		logTo = io.MultiWriter(s.log, t2w{s, p})
	}
	p.Source, err = pleoauth.NewSource(s.cfg, store, keys,
		pleoauth.WithDialContext(p.dial), pleoauth.WithSpillDir(dir), pleoauth.WithEnding(p.ending.Load),
		pleoauth.WithRandom(func(n int64) int64 {
			jitterLock.Lock()
			defer jitterLock.Unlock()
			return jitter.Int64N(n)
		}),
		pleoauth.WithLogger(slog.New(slog.NewTextHandler(logTo, nil))))
	require.NoError(s.t, err)
	s.mu.Lock()
	s.all = append(s.all, p.replica)
	s.procs = append(s.procs, p)
	s.mu.Unlock()
	p.Start()
	return p
}

type t2w struct {
	s *sim
	p *process
}

func (w t2w) Write(b []byte) (int, error) {
	w.s.say("%s: %s", w.p, strings.TrimSpace(string(b[strings.Index(string(b), "level="):])))
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
	var fault func()
	if len(p.faults) > 0 && !p.sim.calm.Load() && !p.sim.inTruce() {
		fault = p.faults[fmt.Sprintf("%s %d", key, n)]
	}
	p.mu.Unlock()
	time.Sleep(latency(p.salt, key, n))
	if p.sim.tell {
		p.sim.say("%s %s #%d", p, key, n)
	}
	if fault != nil {
		fault()
	}
	if !slices.Contains([]string{"pleo", "dial"}, op) && p.unheard.CompareAndSwap(true, false) {
		return errUnheard
	}
	return p.alive()
}

// latency is the time that a process's n-th step of a kind takes.
func latency(salt uint64, key string, n int) time.Duration {
	h := salt ^ uint64(n)*0x9e3779b97f4a7c15
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h ^= h >> 29
	return 50*time.Microsecond + time.Duration(h%uint64(3*time.Millisecond))
}

func (p *process) alive() error {
	for {
		if p.dead.Load() {
			return errDead
		}
		p.mu.Lock()
		rest := time.Until(p.until)
		p.ops["resume"]++
		n := p.ops["resume"]
		p.mu.Unlock()
		if rest <= 0 {
			return nil
		}
		// What goes on at the same instant would do so in an order that no seed gives.
		if !p.sim.sleep(rest + latency(p.salt, "resume", n)) {
			return errDead
		}
	}
}

// kill ends a process at once, and starts another on its disk a little later.
func (p *process) kill(why string, restartAfter time.Duration) {
	if p.dead.Swap(true) {
		return
	}
	s := p.sim
	s.say("%s is killed %s", p, why)
	disk := p.disk()
	if p.Health(context.Background()).Unsaved > 0 && len(disk) == 0 {
		s.broken("I2: %s has an unsaved pair in memory alone", p)
	}
	kept, spilled := map[string]bool{}, map[string]bool{}
	for name := range disk {
		if token, err := pleoauth.SpilledRefreshToken(p.Source, filepath.Join(p.spill, name)); err == nil {
			kept[token], spilled[token] = true, true
		}
	}
	for _, name := range s.names {
		kept[s.refreshToken(name, s.store.record(name))] = true
	}
	s.note(func(l *ledger) {
		maps.Copy(l.spilled, spilled)
		for token, by := range l.received {
			if by == p && !kept[token] {
				l.died[token] = true
			}
		}
	})
	time.AfterFunc(restartAfter, func() {
		if s.over.Load() {
			return
		}
		n := s.start(disk)
		s.say("%s takes the place of %s", n, p)
	})
}

// disk returns the pairs on the process's disk.
func (p *process) disk() map[string][]byte {
	disk := map[string][]byte{}
	files, _ := os.ReadDir(p.spill)
	for _, f := range files {
		content, err := os.ReadFile(filepath.Join(p.spill, f.Name()))
		if err == nil && filepath.Ext(f.Name()) == ".pair" {
			disk[f.Name()] = content
		}
	}
	return disk
}

func (p *process) pause(d time.Duration) {
	p.sim.say("%s is paused for %v", p, d)
	p.sim.note(func(l *ledger) { l.locks = true })
	p.mu.Lock()
	p.until = time.Now().Add(d)
	p.mu.Unlock()
}
