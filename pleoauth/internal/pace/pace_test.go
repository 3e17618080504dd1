package pace_test

import (
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/internal/pace"
)

func spread(d time.Duration) time.Duration { return time.Duration(rand.Int64N(int64(d) + 1)) }

// server takes a number of requests a second, in whole seconds or as a bucket that
// fills, and answers each after a while.
type server struct {
	limit   float64
	bucket  bool
	latency time.Duration

	mu              sync.Mutex
	window          time.Time
	taken           float64
	served, refused int
	now, atOnce     int
}

func (s *server) request() (ok bool) {
	s.mu.Lock()
	s.now++
	s.atOnce = max(s.atOnce, s.now)
	now := time.Now()
	if s.bucket {
		s.taken = max(0, s.taken-now.Sub(s.window).Seconds()*s.limit)
		s.window = now
	} else if second := now.Truncate(time.Second); !second.Equal(s.window) {
		s.window, s.taken = second, 0
	}
	if ok = s.taken+1 <= s.limit; ok {
		s.taken++
		s.served++
	} else {
		s.refused++
	}
	s.mu.Unlock()
	time.Sleep(s.latency)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now--
	return ok
}

// herd has many tokens that come due within a while refreshed, each with two
// requests, and returns how long that took.
func herd(g *pace.Gate, s *server, tokens int, within time.Duration) time.Duration {
	began := time.Now()
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			time.Sleep(within * time.Duration(i) / time.Duration(tokens))
			turn := g.Turn(time.Now())
			for done := 0; done < 2; {
				turn.Enter(2-done, nil)
				for done < 2 {
					sent := time.Now()
					if !s.request() {
						g.Refused(sent, time.Second)
						break
					}
					g.Served()
					done++
				}
				turn.Leave()
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// TestAHerdIsServedWithinTheServersLimit: a thousand tokens obtained together, twice
// as many requests, at a server that takes forty a second.
func TestAHerdIsServedWithinTheServersLimit(t *testing.T) {
	for name, s := range map[string]*server{
		"in whole seconds":           {limit: 40, latency: 30 * time.Millisecond},
		"a bucket that fills":        {limit: 40, bucket: true, latency: 30 * time.Millisecond},
		"a bucket, and slow answers": {limit: 40, bucket: true, latency: 600 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took := herd(pace.New(spread), s, 1000, 12*time.Second)
				t.Logf("%v, %d served, %d refused, %d at once", took, s.served, s.refused, s.atOnce)
				require.Equal(t, 2000, s.served)
				require.Less(t, took, 65*time.Second)
				require.Less(t, s.refused, 300)
				require.LessOrEqual(t, s.atOnce, pace.AtOnce)
			})
		})
	}
}

// TestASlowServerHasABoundedNumberOfRequests: without a limit of its own.
func TestASlowServerHasABoundedNumberOfRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{limit: 1e9, latency: 4 * time.Second}
		herd(pace.New(spread), s, 1000, time.Second)
		require.Equal(t, pace.AtOnce, s.atOnce)
	})
}

func TestTurnsThatCallersWaitForComeFirstThenThoseThatExpireFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pace.New(spread)
		g.Refused(time.Now(), 5*time.Second)
		var mu sync.Mutex
		var order []string
		enter := func(name string, turn *pace.Turn) {
			go func() {
				turn.Enter(1, nil)
				defer turn.Leave()
				mu.Lock()
				defer mu.Unlock()
				order = append(order, name)
			}()
		}
		now := time.Now()
		hurried := g.Turn(now.Add(time.Hour))
		enter("late", g.Turn(now.Add(3*time.Minute)))
		enter("early", g.Turn(now.Add(time.Minute)))
		enter("a caller waits for it", hurried)
		enter("next", g.Turn(now.Add(2*time.Minute)))
		synctest.Wait()
		require.Equal(t, 4, g.Waiting())
		require.Greater(t, g.Pause(), 4*time.Second)
		hurried.Hurry()
		time.Sleep(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []string{"a caller waits for it", "early", "next", "late"}, order)
	})
}

func TestAPauseIsBoundedAndOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pace.New(spread)
		g.Refused(time.Now(), 24*time.Hour)
		began := time.Now()
		turn := g.Turn(time.Time{})
		require.True(t, turn.Enter(1, nil))
		turn.Leave()
		require.Greater(t, time.Since(began), 30*time.Second)
		require.Less(t, time.Since(began), 2*time.Minute)

		time.Sleep(3 * time.Minute) // without another 429 there is no limit any more
		began = time.Now()
		for range 100 {
			require.True(t, turn.Enter(1, nil))
			turn.Leave()
		}
		require.Zero(t, time.Since(began))
	})
}

func TestATurnIsGivenUpWhenTheProcessStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pace.New(spread)
		g.Refused(time.Now(), time.Minute)
		stop := make(chan struct{})
		time.AfterFunc(time.Second, func() { close(stop) })
		require.False(t, g.Turn(time.Time{}).Enter(1, stop))
		require.Zero(t, g.Waiting())
	})
}

// Two requests were under way, and the second one's 429 names a longer pause.
func TestTheLongerOfTwoPausesHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pace.New(spread)
		for range 10 {
			g.Served()
		}
		sent := time.Now()
		time.Sleep(10 * time.Millisecond)
		g.Refused(sent, time.Second)
		g.Refused(sent, 30*time.Second)
		require.Greater(t, g.Pause(), 29*time.Second)
		turn := g.Turn(time.Time{})
		require.True(t, turn.Enter(1, nil))
		require.Zero(t, g.Pause(), "a turn was let through during the pause")
		turn.Leave()
	})
}
