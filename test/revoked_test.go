package test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestARevokedGrantCostsNoRefreshAndIsThenRefusedAtOnceUntilANewAuthorisation(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		// access is how often Pleo may be asked about the access token: once for each
		// replica, why it is refused, and once more, since 'inactive' for the refresh
		// token alone ends no grant. Not at all where it has expired anyway.
		access  int
		life    time.Duration
		prepare func(*testing.T, *pleo)
	}{
		{"while its access token lives", 3, 15 * time.Minute, func(*testing.T, *pleo) {}},
		{"after its access token has expired", 0, 2 * time.Second, func(t *testing.T, e *pleo) { e.awaitExpiry(t) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e, r := startPleo(t, pleotest.WithAccessTokenLife(c.life)), redistest.Start(t)
			replicas := []*proxy{startProxy(t, e, onRedis(r)), startProxy(t, e, onRedis(r))}
			e.authorise(t, replicas[0], "default", company(0))
			for _, p := range replicas {
				p.employees(t)
			}
			c.prepare(t, e)
			require.Positive(t, e.Revoke(pleotest.Target{}))
			e.ResetCounters()

			for _, a := range callBoth(t, replicas, 200) {
				requireReauthorisation(t, a)
			}
			require.Zero(t, e.Counters().TokenRequests, "a token that Pleo calls dead is not sent")
			asked := int(e.aboutAccess.Load())
			require.LessOrEqual(t, asked, c.access)
			e.requireAsked(t, asked, 1) // about the refresh token by one replica, for both

			// From now on Pleo is left alone.
			e.ResetCounters()
			began := time.Now()
			for _, a := range callBoth(t, replicas, 200) {
				requireReauthorisation(t, a)
			}
			require.Less(t, time.Since(began), 5*time.Second, "refused at once, that is")
			require.Zero(t, e.Counters(), "nothing may have reached Pleo")
			info := replicas[1].admin(t, http.MethodGet, "/pleo/connections/default", "", nil)
			require.Contains(t, string(info.body), `"state":"reauthorisation_required"`)

			e.SetAccessTokenLife(15 * time.Minute)
			e.authorise(t, replicas[1], "default", company(0))
			replicas[1].employees(t)
			awaitServing(t, replicas[0])
			require.Zero(t, e.Counters().RefreshRequests)
		})
	}
}

func callBoth(t *testing.T, replicas []*proxy, n int) []answer {
	t.Helper()
	return herd(n, func(i int) answer {
		return send(client, request(t, http.MethodGet, replicas[i%len(replicas)].URL+"/v2/employees", ""))
	})
}

func requireReauthorisation(t *testing.T, a answer) {
	t.Helper()
	p := requireProblem(t, a, http.StatusUnauthorized, "reauthorisation-required")
	require.Equal(t, "revoked_or_expired", p.Reason)
	require.Equal(t, "default", p.Connection)
	require.Regexp(t, `^http://localhost:\d+/pleo/authorise\?connection=default$`, p.AuthoriseURI)
	require.Equal(t, `Bearer error="invalid_token"`, a.header.Get("WWW-Authenticate"))
}

func TestAFaultyClientSecretKeepsTheGrants(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	c := onRedis(r)
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	e.awaitExpiry(t)

	c.env = []string{"PLEO_CLIENT_SECRET=somebody-has-changed-it"}
	wrong, another := startProxy(t, e, c), startProxy(t, e, c)
	e.ResetCounters()
	requireProblem(t, get(t, wrong.URL+"/v2/employees"), http.StatusBadGateway, "client-rejected")
	// The question about the refresh token is refused, too. Nothing speaks against the
	// grant, so that it stops no refresh.
	require.Equal(t, 2, e.Counters().ClientRefusals)
	require.Equal(t, 1, e.Counters().RefreshRequests)
	e.requireAsked(t, 0, 1)
	for _, p := range []*proxy{wrong, another} { // which knows of it by the record alone
		requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusBadGateway, "client-rejected")
	}
	require.Equal(t, 2, e.Counters().ClientRefusals, "further calls must not have asked again")
	require.Contains(t, string(wrong.admin(t, http.MethodGet, "/pleo/connections/default", "", nil).body), `"state":"connected"`)
}
