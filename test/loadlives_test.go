package test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// lifetime is what the token endpoint says of how long its tokens live, and how
// long they do.
type lifetime struct {
	says any // nil: nothing
	life time.Duration
	// every is the shortest time between two refreshes in the whole cluster.
	every time.Duration
	// mayFail says that calls cannot be served all the time: the token is dead
	// before anybody would expect it to be.
	mayFail bool
	alike   bool
}

// Without an expires_in that can be read five minutes are assumed, and a token
// counts as good for at least a second.
func lifetimes() []lifetime {
	const hour = time.Hour
	table := []lifetime{
		{says: 900, life: 15 * time.Minute, every: 7 * time.Minute, alike: true},
		{says: 60, life: time.Minute, every: 30 * time.Second, alike: true},
		{says: 5, life: 5 * time.Second, every: 2500 * time.Millisecond},
		// It is refreshed when it expires, not before: a call can meet its end.
		{says: 1, life: time.Second, every: time.Second, mayFail: true},
		// Each is refreshed when it should have expired, and the next once more,
		// because it is refused.
		{says: 0, life: 0, every: time.Second / 2, mayFail: true},
		{says: 0, life: hour, every: time.Second, alike: true},
		{says: nil, life: hour, every: 2 * time.Minute},
		{says: json.RawMessage("1e400"), life: hour, every: hour, alike: true},
		{says: "900", life: 15 * time.Minute, every: 7 * time.Minute, alike: true},
		{says: 2.5, life: 2500 * time.Millisecond, every: 1250 * time.Millisecond},
		{says: -60, life: hour, every: time.Second},
	}
	if *long {
		return table
	}
	var short []lifetime
	for _, l := range table {
		if !l.alike {
			short = append(short, l)
		}
	}
	return short
}

func (l lifetime) name() string {
	if raw, ok := l.says.(json.RawMessage); ok {
		return "expires_in " + string(raw)
	}
	if l.says == nil {
		return "no expires_in"
	}
	return fmt.Sprintf("expires_in %#v, lives %v", l.says, l.life)
}

func TestLoadRefreshesAtABoundedPaceWhateverExpiresInSays(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, withReplicaUsers(2))
	playAll(t, 6, lifetimes(), lifetime.name, func(t *testing.T, l lifetime) { playLifetime(t, r, l) })
}

func playLifetime(t *testing.T, r *redistest.Server, l lifetime) {
	length := time.Duration(count(5, 60)) * time.Second
	e := startPleo(t, pleotest.WithAccessTokenLife(l.life))
	says := pleotest.Fault{Endpoint: pleotest.Token, Times: pleotest.Always, Set: map[string]any{"expires_in": l.says}}
	if l.says == nil {
		says.Set, says.Omit = nil, []string{"expires_in"}
	}
	e.Fault(says)
	replicas := []*proxy{startProxy(t, e, namedReplica(r, 0)), startProxy(t, e, namedReplica(r, 1))}
	e.authorise(t, replicas[0], "default", company(0))
	e.ResetCounters()

	began := time.Now()
	calls := openLoop(t, 40, length, callReplicas(t, replicas...))
	lasted := time.Since(began)

	c := e.Counters()
	failed := failedCalls(calls)
	figure(t, l.name(), "calls", len(calls))
	figure(t, l.name(), "failed", outcomes(failed))
	figure(t, l.name(), "refreshes a minute, two replicas", int(float64(c.RefreshRequests)/lasted.Minutes()))
	figure(t, l.name(), "introspections", c.Introspections)
	require.LessOrEqual(t, c.RefreshRequests, 1+int(lasted/l.every))
	require.Equal(t, c.RefreshRequests, c.Refreshes)
	if !l.mayFail {
		require.Empty(t, failed, "%v", outcomes(failed))
	}
	for kind := range outcomes(failed) {
		require.Contains(t, []string{seesFailed, seesUnsettled}, kind)
	}
}

// While nothing can be refreshed, callers wait for nobody, and what is tried does
// not grow with them.
func TestLoadWhileTheTokenEndpointRefusesConnectionsTriesAtABoundedPace(t *testing.T) {
	t.Parallel()
	const row = "token endpoint away, two replicas under load"
	length := time.Duration(count(6, 60)) * time.Second
	e, r := startPleo(t), redistest.Start(t, withReplicaUsers(2))
	way := detourToAuth(t, e)
	replicas := startReplicas(t, e, r, 2, nil)
	e.shorten(t, replicas[0], 2*time.Second)
	way.shut()
	e.ResetCounters()

	calls := openLoop(t, 100, length, callReplicas(t, replicas...))

	seen := outcomes(calls)
	tries := replicas[0].record(t).Attempts // of the whole cluster: they stand in the record
	figure(t, row, "calls", len(calls))
	figure(t, row, "answers", seen)
	figure(t, row, "refreshes tried", tries)
	// A call that meets its token's last moment is refused, and nobody can be asked why.
	require.Equal(t, len(calls), seen["200"]+seen[seesFailed]+seen[seesUnsettled], "%v", seen)
	require.Positive(t, seen[seesFailed])
	require.Positive(t, tries)
	// The pauses grow from half a second to a minute: 0.5, 1, 2, 4, 8, 16, 30 …
	require.LessOrEqual(t, tries, count(5, 9))
	require.Zero(t, e.Counters().TokenRequests)

	way.open(t)
	if !*long { // after a minute the next try may be half a minute away
		awaitServing(t, replicas[0])
		awaitServing(t, replicas[1])
		require.Equal(t, 1, e.Counters().RefreshRequests)
	}
}

func TestLoadWhileTheTokenEndpointAsksForAnHourSendsItOneRequest(t *testing.T) {
	t.Parallel()
	const row = "token endpoint says Retry-After: 3600, two replicas under load"
	length := time.Duration(count(6, 60)) * time.Second
	e, r := startPleo(t), redistest.Start(t, withReplicaUsers(2))
	replicas := startReplicas(t, e, r, 2, nil)
	e.shorten(t, replicas[0], 2*time.Second)
	e.ResetCounters()
	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, Times: pleotest.Always, Status: 429, Header: map[string][]string{"Retry-After": {"3600"}}})

	calls := openLoop(t, 100, length, callReplicas(t, replicas...))

	seen := outcomes(calls)
	figure(t, row, "calls", len(calls))
	figure(t, row, "answers", seen)
	figure(t, row, "refreshes tried", e.Counters().RefreshRequests)
	require.Equal(t, 1, e.Counters().RefreshRequests)
	// A call that meets its token's last moment is refused, and nobody can be asked why.
	require.Equal(t, len(calls), seen["200"]+seen[seesFailed]+seen[seesUnsettled], "%v", seen)
	require.Positive(t, seen[seesFailed])
}
