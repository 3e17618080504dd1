package test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// absence is a time without Redis, at an offset of the token's life.
type absence struct {
	how              string
	offset, duration time.Duration
}

func (a absence) name() string { return fmt.Sprintf("%s for %v at %v", a.how, a.duration, a.offset) }

// absences returns the ones to play for a token that is refreshed when half of
// its life is over. All are shorter than that half.
func absences(half time.Duration) []absence {
	var all []absence
	for _, how := range []string{"hung", "cut", "restarted"} {
		if !*long {
			all = append(all, absence{how, half - time.Second, half - 2*time.Second})
			continue
		}
		for _, offset := range []time.Duration{time.Second, half - 2*time.Second, half - 300*time.Millisecond, half} {
			for _, duration := range []time.Duration{time.Second, half / 2, half - time.Second} {
				all = append(all, absence{how, offset, duration})
			}
		}
	}
	return all
}

func TestLoadNoticesNothingOfRedisAwayForLessThanHalfATokensLife(t *testing.T) {
	t.Parallel()
	half := time.Duration(count(8, 10)) * time.Second
	var all absent
	playAll(t, 6, absences(half), absence.name, func(t *testing.T, a absence) { all.add(playAbsence(t, 2*half, a)) })
	all.figures(t)
}

// absent is what came of all absences.
type absent struct {
	mu                   sync.Mutex
	times, calls, failed int
	slowest              time.Duration
}

func (a *absent) add(calls, failed []made) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times, a.calls, a.failed = a.times+1, a.calls+len(calls), a.failed+len(failed)
	a.slowest = max(a.slowest, percentile(latencies(calls), 100))
}

func (a *absent) figures(t *testing.T) {
	t.Helper()
	const row = "Redis away under load"
	figure(t, row, "times", a.times)
	figure(t, row, "calls", a.calls)
	figure(t, row, "failed", a.failed)
	figure(t, row, "slowest ms", milliseconds(a.slowest))
}

func playAbsence(t *testing.T, life time.Duration, a absence) (all, failed []made) {
	e := startPleo(t)
	r := redistest.Start(t, redistest.WithAppendOnly(), withReplicaUsers(2))
	way := startDetour(t, r.Addr())
	replicas := startReplicas(t, e, r, 2, func(c *config) {
		c.options = "refresh_timeout 1s" // a mark lives for six
		if a.how == "cut" {
			c.store = "redis " + r.URLAt(redistest.User, way.address)
		}
	})
	begin, end := outages["killed"].begin, outages["killed"].end
	switch a.how {
	case "hung":
		begin, end = outages["hung"].begin, outages["hung"].end
	case "cut":
		begin = func(*redistest.Server) error { way.shut(); return nil }
		end = func(*redistest.Server) error { way.open(t); return nil }
	}
	e.shorten(t, replicas[0], life)
	obtained := time.Now()
	e.ResetCounters()
	l := startLoad(t, 40, callReplicas(t, replicas...))

	pass(t, obtained.Add(a.offset))
	require.NoError(t, begin(r))
	gone := time.Now()
	pass(t, gone.Add(a.duration))
	require.NoError(t, end(r))
	pass(t, obtained.Add(life+2*time.Second))
	calls := l.end()

	c := e.Counters()
	failed = failedCalls(calls)
	for _, m := range failed[:min(len(failed), 1)] {
		t.Logf("the first failure is %v after the token was obtained, the last %v", m.due.Sub(obtained), failed[len(failed)-1].due.Sub(obtained))
	}
	require.Empty(t, outcomes(failed))
	require.Equal(t, 1, c.RefreshRequests, "the token was refreshed, once")
	require.Equal(t, 1, c.Refreshes)
	return calls, failed
}

// pass lets time pass until a moment of the plan.
func pass(t *testing.T, until time.Time) {
	t.Helper()
	select {
	case <-time.After(time.Until(until)):
	case <-t.Context().Done():
	}
}
