package pleotest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestADropBeforeProcessingHasNoEffect(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.BeforeProcessing})
	_, err := i.tryToken(refresh(a.Refresh))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, i.Counters().RefreshRequests)
	require.Zero(t, i.Counters().Refreshes)
	require.Equal(t, http.StatusOK, i.token(refresh(a.Refresh)).Status)
	require.Zero(t, i.Counters().Replays)
}

func TestADropAfterProcessingLosesTheAnswer(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Drop: pleotest.AfterProcessing})
	_, err := i.tryToken(refresh(a.Refresh))
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, 1, i.Counters().Refreshes)
	require.False(t, i.alive(a.Refresh))
	require.Equal(t, "invalid_grant", i.token(refresh(a.Refresh)).error())
	require.Equal(t, 1, i.Counters().Replays)
}

func TestADropMidBodyCutsTheAnswerShort(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Drop: pleotest.MidBody})
	_, err := i.tryToken(refresh(a.Refresh))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, 1, i.Counters().Refreshes)
}

func TestADropCanResetTheConnection(t *testing.T) {
	for name, options := range map[string][]pleotest.Option{"plain": nil, "TLS": {pleotest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			i := start(t, options...)
			i.Fault(pleotest.Fault{Drop: pleotest.BeforeProcessing, Reset: true})
			_, err := i.tryToken(refresh("whatever"))
			require.ErrorIs(t, err, syscall.ECONNRESET)
		})
	}
}

func TestDelaysComeBeforeOrAfterProcessing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		i.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayBefore: 2 * time.Second, DelayAfter: 3 * time.Second})
		answered := make(chan answer, 1)
		go func() { answered <- i.token(refresh(a.Refresh)) }()
		time.Sleep(2*time.Second - time.Nanosecond)
		require.Zero(t, i.Counters().Refreshes)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, 1, i.Counters().Refreshes)
		time.Sleep(3*time.Second - time.Nanosecond)
		require.Empty(t, answered)
		require.Equal(t, http.StatusOK, (<-answered).Status)
	})
}

func TestAServerFinishesWhatItHasBegunWhoeverHangsUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		i.Fault(pleotest.Fault{Endpoint: pleotest.Token, DelayBefore: time.Minute})
		i.http.Timeout = time.Second
		_, err := i.tryToken(refresh(a.Refresh))
		require.Error(t, err)
		require.Zero(t, i.Counters().Refreshes)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Equal(t, 1, i.Counters().Refreshes)
	})
}

func TestAnAnswerIsHeldUntilReleased(t *testing.T) {
	for _, stage := range []pleotest.Stage{pleotest.BeforeProcessing, pleotest.AfterProcessing} {
		t.Run(string(stage), func(t *testing.T) {
			i := start(t)
			a := i.connect("")
			fault := i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: stage})
			answered := make(chan answer, 1)
			go func() {
				got, _ := i.tryToken(refresh(a.Refresh))
				answered <- got
			}()
			<-fault.Reached()
			require.Equal(t, stage == pleotest.AfterProcessing, i.Counters().Refreshes == 1)
			require.Empty(t, answered)
			fault.Release()
			require.Equal(t, http.StatusOK, (<-answered).Status)
			require.Equal(t, 1, fault.Hits())
		})
	}
}

func TestAnAnswerOfOnesOwnWithoutProcessingOrAfterIt(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}},
	})
	got := i.token(refresh(a.Refresh))
	require.Equal(t, http.StatusTooManyRequests, got.Status)
	require.Equal(t, "7", got.Header.Get("Retry-After"))
	require.Zero(t, i.Counters().Refreshes)

	i.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, Status: http.StatusBadGateway, Body: "<h1>no</h1>", Process: pleotest.ProcessedFirst,
	})
	got = i.token(refresh(a.Refresh))
	require.Equal(t, http.StatusBadGateway, got.Status)
	require.Equal(t, "<h1>no</h1>", got.Raw)
	require.Contains(t, got.Header.Get("Content-Type"), "text/html")
	require.Equal(t, 1, i.Counters().Refreshes)

	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: http.StatusBadRequest, Body: `{"error":"invalid_refresh_token"}`})
	require.Equal(t, "invalid_refresh_token", i.token(refresh(a.Refresh)).error())
}

func TestAnErrorWhileStillWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		i.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, Status: http.StatusInternalServerError,
			Process: pleotest.ProcessedLater, ProcessAfter: 10 * time.Second,
		})
		require.Equal(t, http.StatusInternalServerError, i.token(refresh(a.Refresh)).Status)
		require.True(t, i.alive(a.Refresh), "asked too early")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		require.False(t, i.alive(a.Refresh))
		require.Equal(t, 1, i.Counters().Refreshes)
	})
}

func TestACodeCanBeRedeemedAfterTheErrorWasAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory(), pleotest.WithSecondConsentReplacing())
		older := i.connect("")
		code := i.code("")
		i.Fault(pleotest.Fault{
			Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: http.StatusBadGateway,
			Process: pleotest.ProcessedLater, ProcessAfter: 1500 * time.Millisecond,
		})
		require.Equal(t, http.StatusBadGateway, i.token(exchange(code)).Status)
		time.Sleep(1500*time.Millisecond - time.Nanosecond)
		require.True(t, i.alive(older.Refresh), "asked too early")
		require.Equal(t, 1, i.Counters().Exchanges)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		require.Equal(t, 2, i.Counters().Exchanges)
		require.False(t, i.alive(older.Access))
		require.False(t, i.alive(older.Refresh))
		now := i.Authorisations(pleotest.Target{})
		require.Len(t, now, 1)
		require.True(t, i.alive(now[0].RefreshToken), "a pair that no client has")
		require.Equal(t, "invalid_grant", i.token(exchange(code)).error())
		require.Equal(t, 1, i.Counters().CodeReplays)
		require.False(t, i.alive(now[0].RefreshToken), "the code's second use killed it")
	})
}

func TestARequestCanBeTakenAndNeverAnswered(t *testing.T) {
	for _, stage := range []pleotest.Stage{pleotest.BeforeProcessing, pleotest.AfterProcessing} {
		t.Run(string(stage), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i := start(t, pleotest.WithInMemory(), pleotest.WithSecondConsentReplacing())
				older := i.connect("")
				code := i.code("")
				i.http.Timeout = time.Minute
				taken := i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: stage, Times: 2})
				for _, form := range []url.Values{exchange(code), refresh("x")} {
					_, err := i.tryToken(form)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				require.Equal(t, 2, taken.Hits())
				processed := stage == pleotest.AfterProcessing
				require.Equal(t, !processed, i.alive(older.Refresh))
				require.Equal(t, processed, i.Counters().Exchanges == 2)
				time.Sleep(24 * time.Hour)
				require.Equal(t, processed, i.Counters().Exchanges == 2, "it is never processed later")
				i.Close()
				require.Equal(t, processed, i.Counters().Exchanges == 2, "and not at the end")
			})
		})
	}
}

func TestMembersOfAnAnswerCanBeLeftOutOrChanged(t *testing.T) {
	i := start(t)
	a := i.connect("")
	next := func(fault pleotest.Fault) answer {
		fault.Endpoint = pleotest.Token
		i.Fault(fault)
		a = i.token(refresh(i.Authorisations(pleotest.Target{})[0].RefreshToken))
		require.Equal(t, http.StatusOK, a.Status)
		return a
	}
	require.NotContains(t, next(pleotest.Fault{Omit: []string{"refresh_token"}}).Body, "refresh_token")
	require.NotContains(t, next(pleotest.Fault{Omit: []string{"expires_in"}}).Body, "expires_in")
	for want, value := range map[string]any{
		`"900"`: "900", `0`: 0, `-5`: -5, `1e400`: json.RawMessage("1e400"), `null`: nil,
		`9223372036854775807`: int64(1<<63 - 1),
	} {
		require.Contains(t, next(pleotest.Fault{Set: map[string]any{"expires_in": value}}).Raw, `"expires_in":`+want)
	}
	require.True(t, i.alive(a.Access), "what is said does not change what is")
	i.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Set: map[string]any{"active": "true"}})
	require.Equal(t, "true", i.introspect(a.Access).Body["active"])
}

func TestTokensCanBeDeadOnArrival(t *testing.T) {
	i := start(t)
	a := i.connect("")
	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, AccessDeadOnArrival: true})
	a = i.token(refresh(a.Refresh))
	require.Equal(t, http.StatusUnauthorized, i.call(a.Access, "/v1/companies").Status)
	require.Equal(t, 1, i.Counters().DeadTokenCalls)
	i.Fault(pleotest.Fault{Endpoint: pleotest.Token, RefreshDeadOnArrival: true})
	a = i.token(refresh(a.Refresh))
	require.True(t, i.alive(a.Access))
	require.False(t, i.alive(a.Refresh))
}

func TestIntrospectionCanLagOrFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		first := i.connect("")
		time.Sleep(time.Minute)
		second := i.token(refresh(first.Refresh))
		time.Sleep(time.Second)
		i.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Lag: 2 * time.Second, Times: 2})
		require.True(t, i.alive(first.Refresh), "it still lived then")
		require.False(t, i.alive(second.Refresh), "it was not there yet")
		require.False(t, i.alive(first.Refresh))
		require.True(t, i.alive(second.Refresh))
		i.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Kind: pleotest.RefreshToken, Status: http.StatusServiceUnavailable})
		require.True(t, i.alive(second.Access))
		require.Equal(t, http.StatusServiceUnavailable, i.introspect(second.Refresh).Status)
	})
}

func TestAnAPICallMeetsFaultsAfterItsTokenWasChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		i.Fault(pleotest.Fault{Endpoint: pleotest.API, DelayBefore: time.Second})
		answered := make(chan answer, 1)
		go func() { answered <- i.call(a.Access, "/v1/companies") }()
		synctest.Wait()
		i.token(refresh(a.Refresh))
		require.Equal(t, http.StatusUnauthorized, (<-answered).Status, "in flight with the old token while it was rotated")
	})
}

func TestAStreamCanBeDelayedAndDropped(t *testing.T) {
	i, token := issued(t, "")
	i.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.MidBody})
	r := i.newRequest(http.MethodGet, i.APIURL+"/v1/export-stream?rows=3&interval=0s", "")
	r.Header.Set("Authorization", "Bearer "+token)
	_, err := i.try(r)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestAnAPICallCanBeProcessedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, token := issued(t, "", pleotest.WithInMemory())
		before := len(i.list(i.call(token, "/v3/export-jobs")))
		i.Fault(pleotest.Fault{
			Endpoint: pleotest.API, Method: http.MethodPost, Status: http.StatusGatewayTimeout,
			Process: pleotest.ProcessedLater, ProcessAfter: time.Minute,
		})
		require.Equal(t, http.StatusGatewayTimeout,
			i.send(http.MethodPost, "/v3/export-jobs", token, strings.NewReader("{}")).Status)
		require.Len(t, i.list(i.call(token, "/v3/export-jobs")), before)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Len(t, i.list(i.call(token, "/v3/export-jobs")), before+1)
	})
}
