package test

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// backInUse is how soon the pair of a replica that was stopped is in use again
// once the replica goes on.
const backInUse = 2 * time.Second

func TestFaultAReplicaStoppedPastItsLockAndItsMarkDoesNoHarmWhenItGoesOn(t *testing.T) {
	t.Parallel()
	stops := []struct {
		at string
		// the replica is stopped at when; the message is held until it goes on.
		when moment
		// holds says that the replica has the only live pair, or will.
		holds bool
	}{
		{"after the mark", atMarked, false},
		{"after sending", afterSend, true},
		{"with the answer on its way", atAnswer, true},
		{"before the save", atSave, true},
	}
	var mu sync.Mutex
	var longest time.Duration
	var replays int
	rounds := count(len(stops), 3*len(stops))
	atOnce(t, len(stops), rounds, func(t *testing.T, mine []int) {
		stop := stops[mine[0]%len(stops)]
		s := startStand(t)
		var names []string
		for _, round := range mine {
			names = append(names, fmt.Sprint("round-", round))
		}
		s.connect(t, names...)
		for _, name := range names {
			goneOn := make(chan struct{})
			letGo := sync.OnceFunc(func() { close(goneOn) })
			t.Cleanup(letGo)
			// The replica is stopped before Pleo answers.
			slow := s.e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
			if stop.at != "after sending" {
				slow.Remove()
			}
			p := s.observeHolding(stop.when, func() bool {
				s.first.signal(syscall.SIGSTOP)
				return true
			}, goneOn)
			s.callUntil(t, s.first, name, p.reached)
			p.await(t)
			slow.Release()
			// The lock lapses and the mark is over, and the other replica goes on.
			f := fateAt(t, s.second, name)
			require.Equal(t, stop.holds, f.lost, "%s: the replica that was left alone", stop.at)

			began := time.Now()
			s.first.signal(syscall.SIGCONT)
			letGo()
			awaitUse(t, s.second, name)
			awaitUse(t, s.first, name)
			took := time.Since(began)
			s.ignore()
			mu.Lock()
			longest = max(longest, took)
			mu.Unlock()
			require.Less(t, took, backInUse, stop.at)
		}
		mu.Lock()
		defer mu.Unlock()
		replays += s.e.Counters().Replays
	})
	const row = "stopped past every deadline"
	figure(t, row, "stops", rounds)
	figure(t, row, "longest until in use again", rounded(longest))
	figure(t, row, "replays", replays)
	require.Zero(t, replays)
}
