package test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// requireReceived requires that the API got the whole body.
func requireReceived(t *testing.T, a answer, body string) {
	t.Helper()
	require.NoError(t, a.err)
	require.Equal(t, http.StatusCreated, a.status, "%s", a.body)
	var receipt struct {
		Data struct {
			Size   int
			SHA256 string
		}
	}
	a.decode(t, &receipt)
	sum := sha256.Sum256([]byte(body))
	require.Equal(t, len(body), receipt.Data.Size)
	require.Equal(t, hex.EncodeToString(sum[:]), receipt.Data.SHA256)
}

func TestCallsThatPleoRefusesAreSentAgainWithTheirBodiesAfterOneRefresh(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"refused after the body": false, "refused before the body": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			e.SetEarlyRefusal(early)
			p := startProxy(t, e, config{})
			e.authorise(t, p, "default", company(0))
			e.ResetCounters()
			require.Equal(t, 1, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))

			body := func(i int) string { return fmt.Sprintf(`{"caller":%d,"padding":%q}`, i, strings.Repeat("x", 100_000)) }
			for i, a := range herd(50, func(i int) answer {
				return send(client, request(t, http.MethodPost, p.URL+"/v1/receipts", body(i), withHeader("Content-Type", "application/json")))
			}) {
				requireReceived(t, a, body(i))
			}
			c := e.Counters()
			e.requireAsked(t, 1, 1) // for all callers: why the API refuses, and before the refresh
			require.Equal(t, 1, c.RefreshRequests)
			require.LessOrEqual(t, c.DeadTokenCalls, 50, "no call may be sent twice with the same token")
		})
	}
}

func TestACallWhoseBodyIsTooLargeToKeepIsNotRepeatedAndSaysSo(t *testing.T) {
	t.Parallel()
	for name, early := range map[string]bool{"refused after the body": false, "refused before the body": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			e.SetEarlyRefusal(early)
			roomy := `
http://:{port+1} {
	bind 127.0.0.1
	pleo_proxy {
		connection roomy
		replay_buffer 8MB
	}
}
`
			p := startProxy(t, e, config{sites: roomy})
			e.authorise(t, p, "default", company(0))
			e.authorise(t, p, "roomy", company(1))
			large := strings.Repeat("0123456789abcdef", 5<<20/16)

			require.Equal(t, 2, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))
			a := post(t, p.URL+"/v1/receipts", large)
			requireProblem(t, a, http.StatusServiceUnavailable, "call-not-repeated")
			require.Equal(t, "1", a.header.Get("Retry-After"))
			requireReceived(t, post(t, p.URL+"/v1/receipts", large), large) // as it is asked to

			requireReceived(t, post(t, p.site(1)+"/v1/receipts", large), large)
		})
	}
}

func TestA401OfTheApplicationsOwnIsPassedOnAndRefreshesNothing(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	e.authorise(t, p, "default", company(0))
	e.ResetCounters()
	e.Fault(pleotest.Fault{
		Endpoint: pleotest.API, Times: pleotest.Always, Status: http.StatusUnauthorized,
		Header: http.Header{"Www-Authenticate": {`Bearer realm="something else"`}}, Body: `{"error":"not_for_you"}`,
	})

	for _, a := range herd(50, func(int) answer { return send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "")) }) {
		require.NoError(t, a.err)
		require.Equal(t, http.StatusUnauthorized, a.status)
		require.Equal(t, `{"error":"not_for_you"}`, string(a.body))
		require.Equal(t, `Bearer realm="something else"`, a.header.Get("WWW-Authenticate"))
	}
	c := e.Counters()
	require.Equal(t, 1, c.Introspections, "one for all callers")
	require.Zero(t, c.RefreshRequests)
	require.Equal(t, 50, c.APICalls, "nothing is sent again")
}

func TestA403AndA429AreNotAboutTheToken(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	e.authorise(t, p, "default", company(0))
	e.ResetCounters()
	for _, status := range []int{http.StatusForbidden, http.StatusTooManyRequests, http.StatusInternalServerError} {
		e.Fault(pleotest.Fault{Endpoint: pleotest.API, Status: status, Header: http.Header{"Retry-After": {"7"}}, Body: "{}"})
		a := get(t, p.URL+"/v2/employees")
		require.Equal(t, status, a.status)
		require.Equal(t, "7", a.header.Get("Retry-After"))
	}
	c := e.Counters()
	require.Zero(t, c.Introspections)
	require.Zero(t, c.RefreshRequests)
	require.Equal(t, 3, c.APICalls)
}
