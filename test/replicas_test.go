package test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// threeReplicas starts three proxies on one Redis, which all have the token of
// one connection in memory, and waits until that has expired.
func threeReplicas(t *testing.T) (*pleo, []*proxy) {
	t.Helper()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	var replicas []*proxy
	for range 3 {
		replicas = append(replicas, startProxy(t, e, onRedis(r)))
	}
	e.authorise(t, replicas[0], "default", company(0))
	for _, p := range replicas {
		p.employees(t)
	}
	e.awaitExpiry(t)
	e.ResetCounters()
	// What comes now should live until the test's end.
	e.SetAccessTokenLife(15 * time.Minute)
	return e, replicas
}

func TestTwoHundredCallersAtThreeReplicasShareOneRefresh(t *testing.T) {
	t.Parallel()
	e, replicas := threeReplicas(t)
	e.slowRefresh(500 * time.Millisecond)

	answers := herd(200, func(i int) answer {
		return send(client, request(t, http.MethodGet, replicas[i%3].URL+"/v2/employees", ""))
	})

	requireAll(t, answers)
	c := e.Counters()
	require.Equal(t, 1, c.RefreshRequests)
	require.Equal(t, 1, c.Refreshes)
	require.Zero(t, c.DeadTokenCalls, "no call may go out with the token that has expired")
	e.requireAsked(t, 0, 1) // once for all of them, before the refresh
}

func TestCallersThatHangUpWhileTheyWaitChangeNothing(t *testing.T) {
	t.Parallel()
	e, replicas := threeReplicas(t)
	hold := e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.BeforeProcessing})

	// Every other caller hangs up once the refresh is under way, the very one
	// that began it maybe among them.
	impatient, hangUp := context.WithCancel(t.Context())
	go func() {
		<-hold.Reached()
		hangUp()
		hold.Release()
	}()
	answers := herd(200, func(i int) answer {
		req := request(t, http.MethodGet, replicas[i%3].URL+"/v2/employees", "")
		if i%2 == 0 {
			req = req.WithContext(impatient)
		}
		return send(client, req)
	})

	for i, a := range answers {
		if i%2 == 1 {
			require.NoError(t, a.err)
			require.Equal(t, http.StatusOK, a.status, "%s", a.body)
		}
	}
	require.Equal(t, 1, e.Counters().RefreshRequests)
}

func TestARefreshIsStoredAlthoughEveryCallerHasHungUp(t *testing.T) {
	t.Parallel()
	e, replicas := threeReplicas(t)
	hold := e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})

	impatient, hangUp := context.WithCancel(t.Context())
	go func() {
		<-hold.Reached()
		hangUp()
	}()
	for _, a := range herd(20, func(int) answer {
		return send(client, request(t, http.MethodGet, replicas[0].URL+"/v2/employees", "").WithContext(impatient))
	}) {
		require.Error(t, a.err)
	}
	hold.Release()

	for _, p := range replicas {
		p.employees(t)
	}
	require.Equal(t, 1, e.Counters().RefreshRequests)
}

func TestTheBrowserMayComeBackToAnotherReplica(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	first := startProxy(t, e, onRedis(r))
	// As behind a load balancer, all replicas have the same redirect URI.
	same := onRedis(r)
	same.redirect = first.redirectURI()
	second := startProxy(t, e, same)
	b := newBrowser(t)

	back := e.approve(t, b, first.origin(), "acme", company(1))
	there := strings.Replace(back, first.origin(), second.origin(), 1)
	require.Equal(t, http.StatusOK, b.open(t, there).status)
	require.Equal(t, http.StatusBadRequest, b.open(t, back).status, "the state has been used")

	second.employees(t, on("acme"))
	first.employees(t, on("acme"))
	require.Equal(t, 1, e.Counters().ExchangeRequests)
	e.requireAsked(t, 1, 1) // whose company it is, and whether introspection knows a fresh refresh token
}
