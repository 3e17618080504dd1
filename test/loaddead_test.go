package test

import (
	"maps"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestLoadOnADeadConnectionReachesNeitherPleoNorRedis(t *testing.T) {
	apart(t)
	const row, rate = "dead connection", 500
	length := time.Duration(count(5, 60)) * time.Second
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.quiet = true
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	require.Equal(t, 2, e.Revoke(pleotest.Target{}))
	requireReauthorisation(t, get(t, p.URL+"/v2/employees"))
	own := redisClient(t, r)
	before := redisCommands(t, own)
	e.ResetCounters()

	calls := openLoop(t, rate, length, callReplicas(t, p))

	require.Zero(t, e.Counters(), "nothing may have reached Pleo")
	figure(t, row, "calls", len(calls))
	figure(t, row, "token requests", e.Counters().TokenRequests)
	figure(t, row, "introspections", e.Counters().Introspections)
	figureLatencies(t, row, "callers", latencies(calls))
	require.Equal(t, map[string]int{"401 reauthorisation-required revoked_or_expired": len(calls)}, outcomes(calls))
	require.Greater(t, len(calls), int(length.Seconds())*rate*9/10, "the load was not what it should be")
	requireReauthorisation(t, calls[len(calls)-1].answer)

	scripts := 0
	after := redisCommands(t, own)
	maps.DeleteFunc(after, func(name string, n int) bool { return n == before[name] })
	for _, name := range []string{"eval", "evalsha", "get", "set", "hgetall"} {
		scripts = max(scripts, after[name]-before[name])
	}
	figure(t, row, "Redis scripts and commands", scripts)
	// Every half minute: the answer in use is read again, and what is due is
	// looked for, in each of the index's parts.
	const parts = 256
	rounds := int(length/(15*time.Second)) + 1
	require.LessOrEqual(t, scripts, rounds*(parts+1), "%v", after)
	require.Zero(t, after["set"]+after["publish"], "nothing is locked, marked or told")
}

func TestLoadGoesOnWhenTheUserRevokesAndNoReplicaSendsTheDeadToken(t *testing.T) {
	t.Parallel()
	const row = "revoked under load"
	e, r := startPleo(t), redistest.Start(t, withReplicaUsers(3))
	replicas := startReplicas(t, e, r, 3, nil)
	e.ResetCounters()
	l := startLoad(t, 100, callReplicas(t, replicas...))
	require.Eventually(t, func() bool { return len(l.seen()) > 50 }, patience, tick)

	revoked := time.Now()
	require.Equal(t, 2, e.Revoke(pleotest.Target{}))
	// Each replica has to have heard of it, and to go on answering.
	require.Eventually(t, func() bool {
		since := 0
		for _, c := range l.seen() {
			if c.due.After(revoked) && c.status == http.StatusUnauthorized {
				since++
			}
		}
		return since > 100
	}, patience, tick)
	calls := l.end()

	c := e.Counters()
	seen := outcomes(calls)
	figure(t, row, "refreshes tried", c.TokenRequests)
	figure(t, row, "introspections", c.Introspections)
	figure(t, row, "answers", seen)
	require.Zero(t, c.TokenRequests, "a token that Pleo calls dead is not sent")
	// Each replica may ask why the API refuses. One asks about the refresh token, for
	// all, and once more about the access token: 'inactive' alone ends no grant.
	asked := int(e.aboutAccess.Load())
	require.LessOrEqual(t, asked, len(replicas)+1)
	e.requireAsked(t, asked, 1)
	const ended = "401 reauthorisation-required revoked_or_expired"
	require.Len(t, seen, 2, "%v", seen)
	require.Equal(t, len(calls), seen["200"]+seen[ended], "%v", seen)
	first := time.Time{}
	for _, m := range calls {
		switch {
		case m.outcome() == ended && first.IsZero():
			first = m.end
		case m.outcome() != ended && !first.IsZero():
			require.Less(t, m.due.Sub(first), time.Second, "a replica went on with a grant that has ended")
		}
	}

	e.ResetCounters()
	for _, a := range callBoth(t, replicas, 60) {
		requireReauthorisation(t, a)
	}
	require.Zero(t, e.Counters(), "the second call asks nobody")
}
