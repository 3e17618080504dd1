package test

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// playAll runs tests that mostly wait, more of them at the same time than
// t.Parallel would.
func playAll[T any](t *testing.T, atATime int, rows []T, name func(T) string, play func(*testing.T, T)) {
	t.Helper()
	turns := make(chan struct{}, atATime)
	var playing sync.WaitGroup
	for _, row := range rows {
		turns <- struct{}{}
		playing.Go(func() {
			defer func() { <-turns }()
			t.Run(name(row), func(t *testing.T) { play(t, row) })
		})
	}
	playing.Wait()
}

// recordState is what the admin endpoint tells of a connection.
type recordState struct {
	State, Reason string
	Generation    int
	Attempts      int
	Unsettled     bool
}

func (p *proxy) record(t *testing.T) recordState {
	t.Helper()
	var s recordState
	p.admin(t, http.MethodGet, "/pleo/connections/default", "", nil).decode(t, &s)
	return s
}

func TestLoadMeetsEveryFailureOfTheTokenEndpointWithoutSpendingATokenTwice(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t) // what a proxy keeps there carries its own emulator's name
	playAll(t, 11, failures("/oauth/token"), func(f failure) string { return f.name }, func(t *testing.T, f failure) {
		playFailure(t, r, f)
	})
}

// playFailure lets the failure happen to the refresh of a connection in use.
func playFailure(t *testing.T, r *redistest.Server, f failure) {
	const life = 4 * time.Second
	e := startPleo(t, pleotest.WithAccessTokenLife(life))
	way := detourToAuth(t, e)
	c := onRedis(r)
	c.options = "refresh_timeout 1s" // a mark lives for six
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	if !f.short {
		e.SetAccessTokenLife(15 * time.Minute)
	}
	e.ResetCounters()
	if f.refused {
		way.shut()
	} else {
		f.fault.Endpoint, f.fault.GrantType = pleotest.Token, pleotest.RefreshToken
		e.Fault(f.fault)
	}
	l := startLoad(t, 20, callReplicas(t, p))
	if f.refused {
		awaitOutcome(t, l, seesFailed)
		require.Positive(t, p.record(t).Attempts)
		way.open(t)
	}

	final := f.ends
	if final == endsConnected {
		final = "200"
		require.Eventually(t, func() bool {
			s := p.record(t)
			return s.State == "connected" && s.Generation == 2 && !s.Unsettled
		}, 3*patience, 5*tick, "the connection does not end well: %+v", p.record(t))
	} else {
		awaitOutcome(t, l, final)
	}
	settled := time.Now()
	require.Eventually(t, func() bool { return countSince(l, settled) > 20 }, patience, tick)
	calls := l.end()

	counters := e.Counters()
	row := "token endpoint: " + f.name
	figure(t, row, "requests", counters.RefreshRequests)
	figure(t, row, "introspections", counters.Introspections)
	figure(t, row, "answers", outcomes(calls))
	require.Equal(t, f.posts, counters.RefreshRequests)
	require.Equal(t, f.posts, counters.TokenRequests)
	// A call that is on its way when its token expires can be refused, which is
	// looked into, once. On a machine that is busy with something else Pleo's word
	// can be too old by the time it is read: then it is asked again.
	late := int(settled.Sub(calls[0].due) / (30 * time.Second))
	require.LessOrEqual(t, int(e.aboutRefresh.Load()), f.asks+2*late)
	require.LessOrEqual(t, int(e.aboutAccess.Load()), f.access+1+2*late)
	require.LessOrEqual(t, counters.Introspections, f.asks+f.access+1+4*late)
	for _, answer := range f.sees {
		require.Contains(t, outcomes(calls), answer)
	}
	for _, m := range calls {
		require.Contains(t, append([]string{"200", f.ends, seesUnsettled, seesFailed}, f.sees...), m.outcome())
		if m.status == http.StatusServiceUnavailable {
			seconds, err := strconv.Atoi(m.header.Get("Retry-After"))
			require.NoError(t, err)
			require.Positive(t, seconds)
		}
	}
	last := slices.IndexFunc(calls, func(m made) bool { return m.due.After(settled.Add(100 * time.Millisecond)) })
	for _, m := range calls[last:] {
		require.Equal(t, final, m.outcome(), "it was settled before")
	}
	requireEnd(t, e, p, f, calls[len(calls)-1].answer)
}

// requireEnd requires that the record says what the callers were told, and that
// a connection which has to be authorised again can be.
func requireEnd(t *testing.T, e *pleo, p *proxy, f failure, last answer) {
	t.Helper()
	s := p.record(t)
	switch f.ends {
	case endsConnected:
		require.Equal(t, "connected", s.State)
		require.Zero(t, s.Attempts)
		return
	case endsPostponed:
		require.Equal(t, "connected", s.State)
		seconds, err := strconv.Atoi(last.header.Get("Retry-After"))
		require.NoError(t, err)
		require.Greater(t, seconds, 3500)
		// The record holds for all, and an authorisation ends it. It is another process's
		// here: this one keeps the pace that Pleo has asked it for.
		p = startProxy(t, e, p.config)
		requireProblem(t, get(t, p.URL+"/v1/companies"), http.StatusServiceUnavailable, "refresh-failed")
	default:
		require.Equal(t, "reauthorisation_required", s.State)
		require.Contains(t, f.ends, s.Reason)
		require.NotEmpty(t, s.Reason)
	}
	e.SetAccessTokenLife(15 * time.Minute)
	e.authorise(t, p, "default", company(0))
	require.Equal(t, http.StatusOK, get(t, p.URL+"/v1/companies").status)
}

func awaitOutcome(t *testing.T, l *load, wanted string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(l.seen(), func(m made) bool { return m.outcome() == wanted })
	}, 3*patience, 5*tick, "no caller was answered with %s", wanted)
}

func countSince(l *load, since time.Time) (n int) {
	for _, m := range l.seen() {
		if m.due.After(since) {
			n++
		}
	}
	return n
}
