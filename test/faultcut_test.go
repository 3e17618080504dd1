package test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// cut is a network that lets nothing through for a while.
type cut struct {
	pleo       bool // between the replicas and Pleo, else between the first one and Redis
	at         string
	when       moment
	directions []direction
	lasts      time.Duration
	// broken says that connections do not outlive the cut, and what was on its
	// way is lost; or else it arrives afterwards.
	broken bool
}

func (c cut) String() string {
	way := map[bool]string{true: "Pleo", false: "Redis"}[c.pleo]
	to := map[int]string{1: map[direction]string{toServer: "to", toClient: "from"}[c.directions[0]], 2: "to and from"}[len(c.directions)]
	end := map[bool]string{true: "connections broken", false: "connections kept"}[c.broken]
	return fmt.Sprintf("%s %s, %s, for %v, %s", to, way, c.at, c.lasts, end)
}

// A mark lives for 6 seconds here: one cut is shorter, the other longer.
const (
	shortCut = time.Second
	longCut  = 8 * time.Second
)

// allCuts are the network's ways to fail at the moments that matter.
func allCuts() []cut {
	var all []cut
	for _, lasts := range []time.Duration{shortCut, longCut} {
		for _, broken := range []bool{true, false} {
			for _, directions := range [][]direction{{toServer}, {toClient}, {toServer, toClient}} {
				for _, c := range []cut{
					{at: "at the lock", when: atLock},
					{at: "at the mark", when: atMark},
					{at: "at the save", when: atSave},
					{pleo: true, at: "at the sending", when: atSend},
					{pleo: true, at: "at the answer", when: atAnswer},
				} {
					c.directions, c.lasts, c.broken = directions, lasts, broken
					if c.possible() {
						all = append(all, c)
					}
				}
			}
		}
	}
	return all
}

// possible leaves out a request that the network delivers after its mark is
// over: a system gives up what is not acknowledged within half of
// refresh_timeout (TCP_USER_TIMEOUT), while a link acknowledges it at once.
func (c cut) possible() bool {
	return !c.pleo || c.broken || c.lasts == shortCut || c.at != "at the sending"
}

func TestFaultACutNetworkLosesNothingButAnAnswerThatItNeverDelivers(t *testing.T) {
	t.Parallel()
	all := allCuts()
	rounds := count(6, len(all))
	var mu sync.Mutex
	var used, lost, replays int
	var longest time.Duration
	atOnce(t, min(rounds, 10), rounds, func(t *testing.T, mine []int) {
		s := startStand(t)
		var names []string
		for _, round := range mine {
			names = append(names, fmt.Sprint("round-", round))
		}
		s.connect(t, names...)
		for i, round := range mine {
			// The short selection takes them from all over the list.
			c := all[round*len(all)/rounds]
			took, gone := s.play(t, c, names[i])
			mu.Lock()
			longest = max(longest, took)
			if gone {
				lost++
			} else {
				used++
			}
			mu.Unlock()
		}
		mu.Lock()
		defer mu.Unlock()
		replays += s.e.Counters().Replays
	})
	const row = "network cut"
	figure(t, row, "cuts", rounds)
	figure(t, row, "in use again", used)
	figure(t, row, "lost_response", lost)
	figure(t, row, "longest from the end of the cut until it was known", rounded(longest))
	figure(t, row, "replays", replays)
	require.Zero(t, replays)
}

// play cuts a link at a moment of a refresh, and returns how long after its end
// the connection was in use again, or known to be lost.
func (s *stand) play(t *testing.T, c cut, connection string) (took time.Duration, lost bool) {
	t.Helper()
	link := s.toRedis
	if c.pleo {
		link = s.toPleo
	}
	before := s.e.Counters().Refreshes
	p := s.observe(c.when, func() bool {
		link.cut(c.directions...)
		return true
	})
	s.callUntil(t, s.first, connection, p.reached)
	p.await(t)
	s.call(t, s.second, connection) // which goes on, if it can
	<-time.After(c.lasts)
	if c.broken {
		link.reset()
	}
	began := time.Now()
	link.heal()
	defer s.ignore()
	// Only an answer that the network has never delivered can be gone.
	if c.pleo && c.broken && p.unanswered() {
		f := fateAt(t, s.second, connection)
		require.Equal(t, f.lost, fateAt(t, s.first, connection).lost, "%v: the replicas do not agree", c)
		if f.lost {
			require.Equal(t, before+1, s.e.Counters().Refreshes, "%v: nothing was processed that could be lost", c)
		}
		return time.Since(began), f.lost
	}
	awaitUse(t, s.first, connection)
	awaitUse(t, s.second, connection)
	return time.Since(began), false
}
