package pleotest_test

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestOnlySoManyRequestsASecondAreTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory(), pleotest.WithRateLimit(pleotest.RateLimit{Requests: 3}))
		a, err := i.Issue("", "", "")
		require.NoError(t, err)
		first := i.token(refresh(a.RefreshToken))
		require.Equal(t, http.StatusOK, first.Status)
		time.Sleep(600 * time.Millisecond)
		require.True(t, i.alive(first.Access))
		require.True(t, i.alive(first.Access))
		limited := i.token(refresh(first.Refresh))
		require.Equal(t, http.StatusTooManyRequests, limited.Status)
		require.Equal(t, "1", limited.Header.Get("Retry-After"), "400 ms, rounded up")
		require.Equal(t, "application/json", limited.Header.Get("Content-Type"))
		require.Equal(t, http.StatusTooManyRequests, i.introspect(first.Refresh).Status)

		time.Sleep(400 * time.Millisecond)
		require.Equal(t, http.StatusOK, i.token(refresh(first.Refresh)).Status, "the oldest request is a second old")
		require.Equal(t, http.StatusTooManyRequests, i.token(refresh("x")).Status)
		counters := i.Counters()
		require.Equal(t, 2, counters.Refreshes, "what was refused had no effect")
		require.Equal(t, 4, counters.TokenRequests)
		require.Equal(t, 2, counters.TokenRequestsLimited)
		require.Equal(t, 1, counters.IntrospectionsLimited)
		require.Equal(t, 6, counters.AuthRequestsInASecond)
		require.Equal(t, 3, counters.IntrospectionsInASecond)
		require.Equal(t, 3, counters.TokenRequestsInASecond)
		require.Equal(t, 1, counters.TokenRequestsAtOnce)
	})
}

func TestEachEndpointCanHaveALimitOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		require.NoError(t, i.SetRateLimit(pleotest.RateLimit{Token: 2, Introspect: 1}))
		require.Equal(t, http.StatusOK, i.introspect(a.Access).Status)
		require.Equal(t, http.StatusTooManyRequests, i.introspect(a.Access).Status)
		a = i.token(refresh(a.Refresh))
		require.Equal(t, http.StatusOK, a.Status)
		require.Equal(t, http.StatusTooManyRequests, i.token(refresh(a.Refresh)).Status, "the exchange counts, too")
		require.Equal(t, http.StatusOK, i.call(a.Access, "/v1/companies").Status, "the API has no limit")
		require.NoError(t, i.SetRateLimit(pleotest.RateLimit{}))
		require.Equal(t, http.StatusOK, i.token(refresh(a.Refresh)).Status)
	})
}

func TestRetryAfterIsSecondsOrADateByTheEmulatorsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory(), pleotest.WithClockAhead(time.Hour), pleotest.WithRateLimit(
			pleotest.RateLimit{Token: 1, RetryAfter: pleotest.HTTPDate, Wait: 7 * time.Second}))
		time.Sleep(300 * time.Millisecond)
		i.token(refresh("x"))
		a := i.token(refresh("x"))
		require.Equal(t, http.StatusTooManyRequests, a.Status)
		date, err := http.ParseTime(a.Header.Get("Date"))
		require.NoError(t, err)
		require.Equal(t, time.Now().Add(time.Hour).Truncate(time.Second).Unix(), date.Unix())
		until, err := http.ParseTime(a.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.Equal(t, 8*time.Second, until.Sub(date), "rounded up, and the date is rounded down")

		require.NoError(t, i.SetRateLimit(pleotest.RateLimit{Token: 1, Wait: 6500 * time.Millisecond}))
		require.Equal(t, "7", i.token(refresh("x")).Header.Get("Retry-After"))
		require.NoError(t, i.SetRateLimit(pleotest.RateLimit{Token: 1, RetryAfter: pleotest.NoRetryAfter}))
		require.NotContains(t, i.token(refresh("x")).Header, "Retry-After")
	})
}

func TestAllAnswersShowTheEmulatorsClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		i.SetClockAhead(-time.Minute)
		a := i.connect("")
		got := i.introspect(a.Access)
		require.EqualValues(t, time.Now().Add(-time.Minute).Unix(), number(t, got.Body["iat"]))
		require.True(t, as[bool](t, got.Body["active"]), "a token lives as long as ever")
		i.Fault(pleotest.Fault{Endpoint: pleotest.API, DelayAfter: 3 * time.Second})
		for _, answer := range []answer{got, i.call(a.Access, "/v1/companies"), i.call("x", "/v1/companies")} {
			date, err := http.ParseTime(answer.Header.Get("Date"))
			require.NoError(t, err)
			require.WithinDuration(t, time.Now().Add(-time.Minute), date, 3*time.Second)
		}
		i.SetClockAhead(0)
		date, err := http.ParseTime(i.call(a.Access, "/v1/companies").Header.Get("Date"))
		require.NoError(t, err)
		require.Equal(t, time.Now().Unix(), date.Unix())
	})
}

func TestTheMostRequestsAtOnceAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		hold := i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.BeforeProcessing, Times: pleotest.Always})
		i.Fault(pleotest.Fault{Endpoint: pleotest.API, DelayBefore: time.Second, Times: 2})
		i.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, DelayBefore: time.Second, Times: 4})
		var wait sync.WaitGroup
		for range 3 {
			wait.Go(func() { i.token(refresh("x")) })
		}
		for range 2 {
			wait.Go(func() { i.call(a.Access, "/v1/companies") })
		}
		for range 4 {
			wait.Go(func() { i.alive(a.Access) })
		}
		synctest.Wait()
		hold.Release()
		wait.Wait()
		i.token(refresh("x"))
		counters := i.Counters()
		require.Equal(t, 3, counters.TokenRequestsAtOnce)
		require.Equal(t, 2, counters.APICallsAtOnce)
		require.Equal(t, 4, counters.IntrospectionsAtOnce)
		i.ResetCounters()
		i.token(refresh("x"))
		require.Equal(t, 1, i.Counters().TokenRequestsAtOnce)
	})
}

// Each way that a request can end: its client sends the next one as soon as it
// has seen the end.
func TestRequestsOneAfterAnotherAreNeverAtOnce(t *testing.T) {
	i := start(t)
	for _, fault := range []pleotest.Fault{
		{},
		{Drop: pleotest.BeforeProcessing},
		{Drop: pleotest.AfterProcessing, Reset: true},
		{Drop: pleotest.MidBody},
		{Status: http.StatusBadGateway, Body: string(make([]byte, 10_000))},
	} {
		fault.Endpoint, fault.Times = pleotest.Token, 20
		i.Fault(fault)
		for range 20 {
			_, _ = i.tryToken(refresh("x"))
		}
	}
	require.Equal(t, 100, i.Counters().TokenRequests)
	require.Equal(t, 1, i.Counters().TokenRequestsAtOnce)
}

func TestAnotherProcessLimitsRequestsAndMovesTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.control(http.MethodPost, "/rate-limit",
			`{"requests":9,"token":1,"introspect":1,"retry_after":"date","wait":"30s"}`)
		require.Equal(t, http.StatusOK, a.Status, a.Raw)
		require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/clock", `{"ahead":"24h"}`).Status)
		i.token(refresh("x"))
		limited := i.token(refresh("x"))
		require.Equal(t, http.StatusTooManyRequests, limited.Status)
		until, err := http.ParseTime(limited.Header.Get("Retry-After"))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(24*time.Hour+30*time.Second), until, 5*time.Second)
		counters := i.control(http.MethodGet, "/counters", "")
		require.Equal(t, 1, number(t, counters.Body["token_requests_limited"]))
		require.Equal(t, 1, number(t, counters.Body["token_requests_at_once"]))
		for _, body := range []string{`{"requests":-1}`, `{"retry_after":"soon"}`, `{"wait":"-1s"}`, `{"per":"second"}`} {
			require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/rate-limit", body).Status, body)
		}
		require.Error(t, i.SetRateLimit(pleotest.RateLimit{Introspect: -1}))
	})
}
