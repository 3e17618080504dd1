package test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// info is what the admin endpoint tells of a connection.
func (p *proxy) info(t *testing.T, connection string) (info pleoauth.ConnectionInfo) {
	t.Helper()
	a := p.admin(t, http.MethodGet, "/pleo/connections/"+connection, "", nil)
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	a.decode(t, &info)
	return info
}

func TestFaultAnIntrospectionThatKnowsNoRefreshTokensCostsNoGrant(t *testing.T) {
	t.Parallel()
	const row = "introspection that knows no refresh tokens"
	deaf := map[string]pleotest.Introspection{
		"it says active: false": {Unknown: []pleotest.TokenKind{pleotest.RefreshToken}},
		"it answers 404":        {Unknown: []pleotest.TokenKind{pleotest.RefreshToken}, Status: http.StatusNotFound},
	}
	for name, introspection := range deaf {
		for when, known := range map[string]bool{"before that is known": false, "once that is known": true} {
			t.Run(name+", "+when, func(t *testing.T) {
				t.Parallel()
				e, p, l := inUse(t, faultTimes, 5*time.Minute, pleotest.WithIntrospection(introspection))
				if known {
					p.awaitUnusable(t)
				}
				e.ResetCounters()
				e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: http.StatusServiceUnavailable})
				began, generation := time.Now(), p.info(t, "default").Generation
				_ = p.admin(t, http.MethodPost, "/pleo/connections/default/refresh", "", nil)
				require.Eventually(t, func() bool { return p.info(t, "default").Generation == generation+1 }, settling, 5*tick)
				took := time.Since(began)
				p.employees(t)
				p.refresh(t, "default")
				p.employees(t)
				if !known {
					p.awaitUnusable(t)
				}
				require.NoError(t, e.SetIntrospection(pleotest.Introspection{}))
				p.refresh(t, "default")
				require.Empty(t, p.info(t, "default").Introspection, "one that is called active repeals it")
				calls := l.end()
				figure(t, row, name+", "+when+": until it was refreshed after a 503", rounded(took))
				require.Equal(t, 4, e.Counters().RefreshRequests)
				require.Equal(t, 3, e.Counters().Refreshes)
				require.Empty(t, outcomes(failedCalls(calls)))
			})
		}
	}
}

// awaitUnusable waits until it is said in every place that Pleo's introspection
// cannot be believed about the one connection there is.
func (p *proxy) awaitUnusable(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool { return p.info(t, "default").Introspection == "unusable" }, settling, 10*tick)
	require.Eventually(t, func() bool {
		return strings.Contains(strings.Join(p.healthReport(t).Reasons, "\n"), "introspection cannot be believed")
	}, patience, tick)
	require.Equal(t, "degraded", p.healthReport(t).Status)
	metrics := p.admin(t, http.MethodGet, "/metrics", "", nil)
	require.Contains(t, string(metrics.body), "\npleo_introspection_unusable_connections 1\n")
	require.Eventually(t, func() bool {
		return strings.Contains(p.stderr.String(), "introspection cannot be believed: it calls refresh tokens inactive that were just issued")
	}, patience, tick)
}

func TestAConnectionWhoseCompanyCouldNotBeAskedIsPinnedLaterAndGivenToNoOtherMeanwhile(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, onRedis(redistest.Start(t)))
	failing := pleotest.Fault{Endpoint: pleotest.Introspect, Status: http.StatusInternalServerError, Times: pleotest.Always}
	silent := []*pleotest.ActiveFault{e.Fault(failing)}
	failing.Endpoint, failing.Path = pleotest.API, "/v1/introspect"
	silent = append(silent, e.Fault(failing))
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	require.True(t, p.info(t, "default").Unpinned)
	require.Eventually(t, func() bool {
		return strings.Contains(p.stderr.String(), "whose company the connection belongs to could not be asked")
	}, patience, tick)

	b := newBrowser(t)
	other := b.follow(t, e.approve(t, b, p.origin(), "default", company(1)))
	require.GreaterOrEqual(t, other.status, 400, "another company's consent")
	require.NotContains(t, string(other.body), "Connected")
	require.Equal(t, company(0).ID, get(t, p.URL+"/v1/echo").companyID(t))

	for _, fault := range silent {
		fault.Remove()
	}
	require.Eventually(t, func() bool { info := p.info(t, "default"); return !info.Unpinned && info.Subject != "" }, settling, 5*tick)
	require.Contains(t, p.info(t, "default").Subject, company(0).ID)
	other = b.follow(t, e.approve(t, b, p.origin(), "default", company(1)))
	require.Equal(t, http.StatusConflict, other.status, "%s", other.body)
	again := b.follow(t, e.approve(t, b, p.origin(), "default", company(0)))
	require.Equal(t, http.StatusOK, again.status, "%s", again.body)
	require.Equal(t, company(0).ID, get(t, p.URL+"/v1/echo").companyID(t))
}

func TestFaultARetryAfterIsReadByTheClockThatNamedItAndAPersonOverridesIt(t *testing.T) {
	t.Parallel()
	const row = "Retry-After as a date, Pleo's clock ahead"
	for name, ahead := range map[string]time.Duration{"ten minutes ahead": 10 * time.Minute, "ten minutes behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const life = 6 * time.Second
			e, p, l := inUse(t, faultTimes, life, pleotest.WithClockAhead(ahead))
			e.SetAccessTokenLife(15 * time.Minute)
			const wait = 8 * time.Second
			asks := e.Fault(pleotest.Fault{
				Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: http.StatusTooManyRequests,
				Header: http.Header{"Retry-After": {time.Now().Add(life/2 + ahead + wait).UTC().Format(http.TimeFormat)}},
			})
			await(t, asks)
			asked := time.Now()
			require.Eventually(t, func() bool { return e.Counters().Refreshes == 1 }, settling, tick)
			waited := time.Since(asked)
			p.employees(t)
			figure(t, row, name+": from the answer until it was refreshed", rounded(waited))
			require.Greater(t, waited, wait-4*time.Second, "Pleo's wish is heeded")
			require.Less(t, waited, wait+10*time.Second)
			for kind := range outcomes(l.end()) {
				require.Contains(t, []string{"200", seesFailed, seesUnsettled}, kind)
			}
		})
	}
	t.Run("a person", func(t *testing.T) {
		t.Parallel()
		e, p, _ := inUse(t, faultTimes, 6*time.Second)
		e.SetAccessTokenLife(15 * time.Minute)
		asks := e.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: http.StatusTooManyRequests,
			Header: http.Header{"Retry-After": {"3600"}},
		})
		await(t, asks)
		began := time.Now()
		p.refresh(t, "default")
		figure(t, row, "an hour asked for: until a person's refresh was done", rounded(time.Since(began)))
		p.employees(t)
	})
}
