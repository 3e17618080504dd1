package pleoauth_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

var (
	seeds     = flag.Int("seeds", 200, "how many schedules TestSimulatedSchedules plays")
	firstSeed = flag.Int("seed", 0, "the first of them; with -seeds 1 and -v one schedule is played and told")
)

// TestSimulatedSchedules plays schedules of replicas, store and Pleo in virtual
// time, each made from its seed: latencies, who calls when, and faults between
// the steps of the protocol. When the faults have ended it judges what is left.
func TestSimulatedSchedules(t *testing.T) {
	var tally simTally
	var group sync.WaitGroup
	var next atomic.Int64
	for range 2 {
		group.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= *seeds || t.Failed() {
					return
				}
				seed := *firstSeed + i
				t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
					tell := *seeds == 1
					outcome := simulate(t, uint64(seed), tell, mutant{})
					require.Empty(t, outcome.violation)
					tally.add(outcome)
				})
			}
		})
	}
	group.Wait()
	t.Log(tally.String())
}

type simOutcome struct {
	refreshes, replays, lost, faults int
	violation                        string
}

type simTally struct {
	mu        sync.Mutex
	schedules int
	simOutcome
}

func (s *simTally) add(o simOutcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.schedules++
	s.refreshes += o.refreshes
	s.replays += o.replays
	s.lost += o.lost
	s.faults += o.faults
}

func (s *simTally) String() string {
	return fmt.Sprintf("%d schedules, %d faults, %d refreshes: %d replays, %d grants lost with a process or an answer",
		s.schedules, s.faults, s.refreshes, s.replays, s.lost)
}

// sim is one schedule.
type sim struct {
	*world
	t       *testing.T
	seed    uint64
	mutant  mutant
	bad     string // the first violation
	rng     *rand.Rand
	tell    bool
	began   time.Time
	mu      sync.Mutex
	procs   []*process
	faults  int
	lostBy  []string // what may have cost the grant: physics, not the protocol
	revoked bool
	over    atomic.Bool
}

func simulate(t *testing.T, seed uint64, tell bool, m mutant) (outcome simOutcome) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{t: t, seed: seed, mutant: m, rng: rand.New(rand.NewPCG(seed, 1)), tell: tell, began: time.Now()}
		options := []pleotest.Option{pleotest.WithAccessTokenLife([]time.Duration{15 * time.Minute, time.Minute, 20 * time.Second}[s.rng.IntN(3)])}
		if s.rng.IntN(2) == 0 {
			options = append(options, pleotest.WithSecondConsentReplacing())
		}
		s.world = newWorld(t, options...)
		s.store.single = s.rng.IntN(2) == 0
		if s.rng.IntN(4) == 0 {
			s.cfg.RefreshTimeout = 2 * time.Second
		}
		for range 2 + s.rng.IntN(2) {
			s.start(nil)
		}
		s.authorise(s.procs[0].replica, "default", "")
		for _, p := range s.procs {
			s.token(p.replica, "default")
		}
		s.store.spoil(m.swap, m.sameRun)
		synctest.Wait()
		s.plan()
		s.moreFaults()
		s.run()
		outcome = s.judge()
		s.over.Store(true)
	})
	return outcome
}

func (s *sim) say(format string, args ...any) {
	if s.tell {
		s.t.Logf("%10.3fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// run has every living process called now and then, until long after the last
// fault.
func (s *sim) run() {
	end := time.Now().Add(time.Hour)
	for time.Now().Before(end) {
		s.call()
		time.Sleep(time.Duration(1 + s.rng.Int64N(int64(40*time.Second))))
		if s.replayed() {
			return
		}
	}
	s.pleo.ClearFaults()
	for _, p := range s.living() {
		p.store.setAway(false)
	}
	for range 60 { // faults have ended: a fair schedule
		s.call()
		time.Sleep(5 * time.Second)
		if s.replayed() {
			return
		}
	}
}

func (s *sim) living() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.procs), func(p *process) bool { return p.dead.Load() })
}

func (s *sim) call() {
	for _, p := range s.living() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		go func() {
			defer cancel()
			token, err := p.Token(ctx, "default")
			if err == nil && !s.lives(token) { // as the API would find
				_, _ = p.Refused(ctx, "default", token)
			}
		}()
	}
}
