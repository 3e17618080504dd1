package test

import (
	"net/http"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// copiers are the ways in which an operator copies a record, and writes it back.
var copiers = map[string]func(*testing.T, *redis.Client, string) (writeBack func(*testing.T)){
	"DUMP and RESTORE": func(t *testing.T, c *redis.Client, key string) func(*testing.T) {
		t.Helper()
		dump, err := c.Dump(t.Context(), key).Result()
		require.NoError(t, err)
		return func(t *testing.T) {
			t.Helper()
			require.NoError(t, c.RestoreReplace(t.Context(), key, 0, dump).Err())
		}
	},
	"HGETALL and HSET": func(t *testing.T, c *redis.Client, key string) func(*testing.T) {
		t.Helper()
		fields, err := c.HGetAll(t.Context(), key).Result()
		require.NoError(t, err)
		require.NotEmpty(t, fields)
		return func(t *testing.T) {
			t.Helper()
			require.NoError(t, c.HSet(t.Context(), key, fields).Err())
		}
	},
}

func TestFaultARecordThatIsWrittenBackAfterItsRefreshReplaysNothingAndLosesNothing(t *testing.T) {
	t.Parallel()
	const row = "a record written back"
	var mu sync.Mutex
	var times, replays, dead int
	var longest time.Duration
	kinds := map[string]func(*testing.T){}
	for how, copier := range copiers {
		for when, expired := range map[string]bool{"while its access token has time left": false, "when its access token is over": true} {
			kinds[how+", "+when] = func(t *testing.T) {
				for range count(1, 4) {
					took, c := writeRecordBack(t, copier, expired)
					mu.Lock()
					times, replays, dead, longest = times+1, replays+c.Replays, dead+c.DeadRefreshes, max(longest, took)
					mu.Unlock()
				}
			}
		}
	}
	together(t, kinds)
	figure(t, row, "times", times)
	figure(t, row, "replays", replays)
	figure(t, row, "dead refresh tokens sent", dead)
	figure(t, row, "longest until a restarted replica was in use", rounded(longest))
	require.Zero(t, replays+dead)
}

// writeRecordBack has one replica hold the live pair, while the record is the one
// before it. Another replica restarts, and is called.
func writeRecordBack(t *testing.T, copier func(*testing.T, *redis.Client, string) func(*testing.T), expired bool) (took time.Duration, c pleotest.Counters) {
	t.Helper()
	e, r := startPleo(t), redistest.Start(t)
	c0 := onRedis(r)
	c0.options = faultTimes
	first := startProxy(t, e, c0)
	c0.redirect = first.redirectURI()
	second := startProxy(t, e, c0)
	const life = 4 * time.Second
	if expired {
		e.SetAccessTokenLife(life)
	}
	e.authorise(t, first, "default", company(0))
	authorised := time.Now()
	client := r.Client(t)
	keys, err := client.Keys(t.Context(), ofDefault).Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	writeBack := copier(t, client, keys[0])
	e.SetAccessTokenLife(15 * time.Minute)
	first.refresh(t, "default")
	second.employees(t)

	second.stop(t, syscall.SIGTERM)
	writeBack(t)
	if expired {
		pass(t, authorised.Add(life))
	}
	second.restart(t)
	took = awaitUse(t, second, "default")
	awaitUse(t, first, "default")
	for _, p := range []*proxy{second, first} {
		p.refresh(t, "default")
	}
	first.employees(t)
	second.employees(t)
	return took, e.Counters()
}

// refresh has a proxy refresh a connection, as an operator does: again while
// something about it has to be settled first.
func (p *proxy) refresh(t *testing.T, connection string) {
	t.Helper()
	var a answer
	require.Eventually(t, func() bool {
		a = p.admin(t, http.MethodPost, "/pleo/connections/"+connection+"/refresh", "", nil)
		return a.status != http.StatusServiceUnavailable
	}, settling, 5*tick)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
}

func TestOfTwoNamesForOneAuthorisationTheLaterLivesAndTheEarlierHasToBeAuthorisedAgain(t *testing.T) {
	t.Parallel()
	for name, other := range map[string]bool{"in one process": false, "in two processes": true} {
		for when, expired := range map[string]bool{"before the earlier is due": false, "when the earlier is due": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				twoNamesForOneAuthorisation(t, other, expired)
			})
		}
	}
}

func twoNamesForOneAuthorisation(t *testing.T, otherProcess, expired bool) {
	t.Helper()
	e := startPleo(t, pleotest.WithSecondConsentReplacing())
	c := onRedis(redistest.Start(t))
	c.options = faultTimes
	first := startProxy(t, e, c)
	second := first
	if otherProcess {
		c.redirect = first.redirectURI()
		second = startProxy(t, e, c)
	}
	const life = 4 * time.Second
	if expired {
		e.SetAccessTokenLife(life)
	}
	e.authorise(t, first, "a", company(0))
	first.employees(t, on("a"))
	e.SetAccessTokenLife(15 * time.Minute)
	e.authorise(t, first, "b", company(0))
	if expired {
		pass(t, time.Now().Add(life))
	}

	var last answer
	require.Eventually(t, func() bool {
		last = get(t, second.URL+"/v2/employees", on("a"))
		return last.status != http.StatusServiceUnavailable
	}, settling, tick)
	requireProblem(t, last, http.StatusUnauthorized, "reauthorisation-required")
	for _, p := range []*proxy{first, second} {
		p.employees(t, on("b"))
	}
	second.refresh(t, "b")
	second.employees(t, on("b"))
	counters := e.Counters()
	require.Zero(t, counters.DeadRefreshes, "a refresh token that the second consent has killed is not sent")
	require.Equal(t, 1, counters.RefreshRequests)
}
