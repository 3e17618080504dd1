package pleoauth_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// sim is one schedule.
type sim struct {
	*world
	t      *testing.T
	seed   uint64
	mutant mutant
	rng    *rand.Rand
	odds   *rand.Rand // the second stream, of the theme
	theme  theme
	tell   bool
	began  time.Time
	disk   string        // where processes have their disks
	window time.Duration // faults begin in it
	life   time.Duration // of an access token
	names  []string      // the connections
	opener *pleoauth.Keyring

	mu      sync.Mutex
	bad     string // the first violation
	procs   []*process
	started int
	faults  int
	sent    []*sent
	turns   []turn
	old     *memServer // the old master of a split store
	mute    bool       // its processes cannot ask Pleo about tokens
	slowly  bool       // Pleo may be slow, although requests know nothing of each other
	// truceUntil is until when no further fault begins.
	truceUntil time.Time
	// nuisance has no faults but a browser that brings exchanges about.
	nuisance bool
	served   map[string]time.Time
	deaf     struct {
		deafness
		fromStart bool
		begins    time.Duration
		began     atomic.Bool
	}
	// What judgements have to know, see simjudge_test.go.
	ledger ledger
	calm   atomic.Bool // no further fault begins
	over   atomic.Bool
	end    chan struct{} // closed when the schedule is over
}

// simulate plays the schedule of a seed. Tokens, versions and nonces come from the seed
// as well: when a token is due, for one, depends on its version.
func simulate(t *testing.T, seed uint64, tell bool, m mutant) (outcome simOutcome) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // else its goroutines run in another order each time
	cryptotest.SetGlobalRandom(t, seed)
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, tell, m)
		s.plan()
		s.moreFaults()
		s.planTheme()
		s.run()
		outcome = s.judge()
		s.over.Store(true)
		close(s.end)
		_ = os.RemoveAll(s.disk)
		_ = os.Remove(filepath.Dir(s.disk)) // which others may still have theirs in
	})
	return outcome
}

// newSim starts the replicas and connects the connections, all without faults.
func newSim(t *testing.T, seed uint64, tell bool, m mutant) *sim {
	s := &sim{t: t, seed: seed, mutant: m, rng: rand.New(rand.NewPCG(seed, 1)), odds: rand.New(rand.NewPCG(seed, 7)), tell: tell, began: time.Now(), end: make(chan struct{})}
	s.theme = themes[s.odds.IntN(len(themes))]
	s.disk = filepath.Join(os.TempDir(), fmt.Sprintf("pleo-simulation-%d", os.Getpid()), fmt.Sprint(seed))
	s.window = 90 * time.Second
	s.slowly = s.theme == splitStore && s.chance(3)
	s.nuisance, s.served = s.theme == exchanges && s.chance(4), map[string]time.Time{}
	var options []pleotest.Option
	sameFamily := s.rng.IntN(2) == 0
	if s.theme == otherConsent || s.theme == twoNames || sameFamily && s.theme != manyNames {
		options = append(options, pleotest.WithSecondConsentReplacing())
	}
	s.life = []time.Duration{20 * time.Second, 30 * time.Second, time.Minute}[s.rng.IntN(3)]
	s.world = newWorld(t, append(options, pleotest.WithAccessTokenLife(s.life))...)
	s.store.single = s.rng.IntN(2) == 0 && s.theme != splitStore
	if s.rng.IntN(2) == 0 {
		s.cfg.RefreshTimeout, s.window = 2*time.Second, 45*time.Second
	}
	if s.theme == splitStore {
		s.window = 90 * time.Second // the old master notices that it is alone
	}
	s.names = []string{"default"}
	if s.rng.IntN(8) == 0 {
		s.names = append(s.names, "other")
	}
	later := s.moreNames()
	var err error
	s.opener, err = pleoauth.NewKeyring(s.key)
	require.NoError(t, err)
	s.ledger.init()
	for range 2 + s.rng.IntN(2) {
		s.start(nil)
	}
	if s.theme == introspection {
		s.chooseDeafness()
	}
	for _, name := range s.names {
		s.authorise(s.procs[0].replica, name, s.companyOf(name))
		if name != "default" {
			s.ledger.families[name] = s.familyOf(s.refreshToken(name, s.store.record(name)))
		}
		for _, p := range s.procs {
			s.token(p.replica, name)
		}
	}
	s.names = append(s.names, later...)
	s.store.spoil(m.swap, m.sameRun)
	synctest.Wait()
	s.store.watchSwaps(s.swapped)
	return s
}

// moreNames returns names that are authorised in the course of the schedule, and
// adds others to those that are from its start.
func (s *sim) moreNames() (later []string) {
	switch s.theme {
	case manyNames:
		s.names = []string{"default", "other", "third", "fourth", "fifth", "sixth"}[:3+s.odds.IntN(4)]
	case twoNames:
		s.names = s.names[:1]
		return []string{"twin"}
	case exchanges:
		return []string{"fresh"}
	}
	return nil
}

// companyOf returns the company that a connection belongs to. That of default, on
// which users act, has no other connection but its twin.
func (s *sim) companyOf(name string) string {
	switch name {
	case "default", "twin":
		return pleotest.Companies()[0].Name
	case "other", "fourth", "sixth":
		return pleotest.Companies()[1].Name
	}
	return pleotest.Companies()[2].Name
}

// familyOf returns which authorisation a live refresh token belongs to.
func (s *sim) familyOf(refreshToken string) string {
	for _, a := range s.pleo.Authorisations(pleotest.Target{}) {
		if a.RefreshToken == refreshToken && refreshToken != "" {
			return a.ID
		}
	}
	return ""
}

func (s *sim) say(format string, args ...any) {
	if s.tell {
		s.t.Logf("%10.3fs  %s", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	}
}

// run has every living process called now and then, until all faults are over
// and have had their time; then it sees that a refresh is still possible.
func (s *sim) run() {
	time.AfterFunc(s.window, func() { s.calm.Store(true) })
	end := time.Now().Add(s.window + longest)
	for time.Now().Before(end) && !s.replayed() {
		s.call()
		time.Sleep(time.Duration(1 + s.rng.Int64N(int64(8*time.Second))))
	}
	s.endFaults()
	rounds, pause := 16, 5*time.Second
	if s.theme == introspection { // what cannot be asked about is waited out
		rounds, pause = 24, 45*time.Second
	}
	for range rounds { // faults have ended: a fair schedule
		if s.replayed() {
			return
		}
		s.call()
		time.Sleep(pause)
		if s.quiet() {
			break
		}
	}
	for range 25 * 60 / 20 { // a token that introspection does not speak about is waited for
		if s.quiet() || s.replayed() {
			break
		}
		s.call()
		time.Sleep(20 * time.Second)
	}
	time.Sleep(time.Minute) // every token has expired
	for turn := range 12 {  // what was put back only now is settled
		s.call()
		time.Sleep(5 * time.Second)
		if turn > 0 && s.quiet() {
			break
		}
	}
}

// endFaults ends what would go on, but for an introspection that is like that.
func (s *sim) endFaults() {
	s.say("faults end")
	s.pleo.ClearFaults()
	if s.deaf.began.Load() && !s.deaf.ends {
		s.goDeaf()
	}
	s.endSplit()
	for _, p := range s.living() {
		p.store.setAway(false)
	}
}

// quiet reports whether nothing is left to be done about what has happened.
func (s *sim) quiet() bool {
	for _, name := range s.names {
		waits := false // a user for the end of an exchange
		s.userOf(name, func(u *acts) { waits = u.underWay > 0 })
		if waits {
			return false
		}
		record := s.store.record(name)
		if record.Mark != nil {
			return false
		}
		for _, p := range s.living() {
			token, err := p.Token(context.Background(), name)
			if p.Stats().Unsaved > 0 || (err == nil) != (record.State == pleoauth.StateConnected) || err == nil && token.Version() != record.Version {
				return false
			}
		}
	}
	return true
}

func (s *sim) living() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.procs), func(p *process) bool { return p.dead.Load() })
}

func (s *sim) first() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[0]
}

func (s *sim) call() {
	for _, p := range s.living() {
		if s.isIdle(p) {
			continue
		}
		for _, name := range s.names {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			go func() {
				defer cancel()
				token, err := p.Token(ctx, name)
				s.judgeOutage(p, name, err)
				if err != nil {
					return
				}
				s.judgeToken(name, token)
				if !s.lives(token) { // as the API would find
					_, _ = p.Refused(ctx, name, token)
				}
			}()
		}
	}
}
