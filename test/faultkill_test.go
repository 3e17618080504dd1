package test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// tally counts what came of many rounds of a fault.
type tally struct {
	mu                                    sync.Mutex
	kills, atOnce, settled, lost, replays int
	longest                               time.Duration
}

func (y *tally) add(f fate) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.kills++
	switch {
	case f.lost:
		y.lost++
	case f.calls == 1:
		y.atOnce++
	default:
		y.settled++
	}
	y.longest = max(y.longest, f.waited)
}

func (y *tally) close(e *pleo) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.replays += e.Counters().Replays
}

func (y *tally) figures(t *testing.T, row string) {
	t.Helper()
	figure(t, row, "kills", y.kills)
	figure(t, row, "usable at the next call", y.atOnce)
	figure(t, row, "usable once settled", y.settled)
	figure(t, row, "lost_response", y.lost)
	figure(t, row, "replays", y.replays)
	figure(t, row, "longest wait until it was known", rounded(y.longest))
}

// rounded makes a figure of a duration.
func rounded(d time.Duration) string {
	if d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(100 * time.Millisecond).String()
}

// killFirst kills the first replica. In a watcher, the message is not passed on.
func (s *stand) killFirst() (pass bool) {
	s.first.signal(syscall.SIGKILL)
	<-s.first.exited
	return false
}

// afterKill has the second replica serve and the first one restart on its disk,
// and requires that both come to the same end: usable, or lost if it may be.
func (s *stand) afterKill(t *testing.T, connection string, p *progress, what string) fate {
	t.Helper()
	// What was on its way has arrived once no connection of the dead one is left.
	require.Eventually(t, func() bool { return s.toRedis.open()+s.toPleo.open() == 0 }, patience, tick)
	s.ignore()
	mayLose := p.mayLose()
	var restarted sync.WaitGroup
	restarted.Go(func() { s.first.restart(t) })
	f := fateAt(t, s.second, connection)
	restarted.Wait()
	require.Equal(t, f.lost, fateAt(t, s.first, connection).lost, "the replicas do not agree")
	if f.lost {
		require.True(t, mayLose, "%s: a grant was lost that cannot have been", what)
	}
	return f
}

// steps returns how many steps an undisturbed refresh has in a replica that
// has just started.
func (s *stand) steps(t *testing.T, connection string) int {
	t.Helper()
	p := s.observe(nil, nil)
	defer s.ignore()
	require.False(t, fateAt(t, s.first, connection).lost)
	require.Eventually(t, p.whole, patience, tick, "the links have not seen the refresh")
	return p.count()
}

func TestFaultAReplicaKilledAtAnyStepOfARefreshLosesAtMostAnAnswerThatNobodyElseHas(t *testing.T) {
	t.Parallel()
	// In the short selection not every step, but from all over the refresh.
	groups, share := count(4, 6), count(6, 1)
	var y tally
	var steps int
	var mu sync.Mutex
	atOnce(t, groups, groups, func(t *testing.T, mine []int) {
		s := startStand(t)
		s.connect(t, "undisturbed")
		all := s.steps(t, "undisturbed")
		mu.Lock()
		steps = max(steps, all)
		mu.Unlock()
		var names []string
		// Some refreshes have more messages, since connections are opened as needed.
		for step := mine[0]*share + 1; step <= all+all/5; step += groups * share {
			names = append(names, fmt.Sprint("step-", step))
		}
		s.first.stop(t, syscall.SIGTERM)
		s.first.restart(t)
		s.connect(t, names...)
		for i, name := range names {
			p := s.observe(step(mine[0]*share+1+i*groups*share), s.killFirst)
			select {
			case <-p.reached:
			case <-s.callUntil(t, s.first, name, p.reached):
				// This time there were some messages less, or they come afterwards.
				p.doNow()
			case <-time.After(patience):
				require.FailNow(t, "the refresh comes neither to an end nor to "+name)
			}
			y.add(s.afterKill(t, name, p, name))
		}
		y.close(s.e)
	})
	figure(t, "killed at every step", "steps", steps)
	y.figures(t, "killed at every step")
	require.Zero(t, y.replays)
}

func TestFaultAReplicaKilledAtARandomMomentLosesAtMostAnAnswerThatNobodyElseHas(t *testing.T) {
	t.Parallel()
	var y tally
	atOnce(t, count(6, 10), count(6, 200), func(t *testing.T, mine []int) {
		s := startStand(t)
		// Pleo takes its time, or else nearly all moments were before or after.
		s.e.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Times: pleotest.Always,
			DelayBefore: 25 * time.Millisecond, DelayAfter: 25 * time.Millisecond,
		})
		var names []string
		for _, round := range mine {
			names = append(names, fmt.Sprint("round-", round))
		}
		s.connect(t, append(names, "undisturbed")...)
		began := time.Now()
		s.steps(t, "undisturbed")
		lasts := time.Since(began)
		s.first.stop(t, syscall.SIGTERM)
		s.first.restart(t)
		for _, name := range names {
			p := s.observe(nil, nil)
			moment := rand.N(lasts)
			s.call(t, s.first, name)
			<-time.After(moment)
			s.killFirst()
			y.add(s.afterKill(t, name, p, fmt.Sprintf("%s, after %v of %v", name, moment, lasts)))
		}
		y.close(s.e)
	})
	y.figures(t, "killed at a random moment")
	require.Zero(t, y.replays)
}
