package pleotest_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAFaultHappensToTheRequestsThatItSelects(t *testing.T) {
	i := start(t)
	companies := pleotest.Companies()
	one, other := i.connect(companies[0].ID), i.connect(companies[1].ID)
	teapot := func(fault pleotest.Fault) *pleotest.ActiveFault {
		fault.Status = http.StatusTeapot
		return i.Fault(fault)
	}
	fault := teapot(pleotest.Fault{Endpoint: pleotest.API, Company: companies[1].Name, Skip: 1, Times: 2})
	got := make([]int, 0, 4)
	for range 4 {
		require.Equal(t, http.StatusOK, i.call(one.Access, "/v1/companies").Status)
		got = append(got, i.call(other.Access, "/v1/companies").Status)
	}
	require.Equal(t, []int{200, 418, 418, 200}, got)
	require.Equal(t, 2, fault.Hits())
	require.Equal(t, 2, i.Counters().Faults)

	for name, fault := range map[string]pleotest.Fault{
		"path":   {Endpoint: pleotest.API, Path: "/v1/receipts/a%2Fb"},
		"method": {Method: http.MethodPut},
		"client": {Endpoint: pleotest.API, ClientID: "somebody"},
		"match":  {Match: func(r *http.Request) bool { return r.URL.Path == "/elsewhere" }},
		"kind":   {Kind: pleotest.RefreshToken},
		"grant":  {GrantType: pleotest.AuthorizationCode},
	} {
		t.Run(name, func(t *testing.T) {
			active := teapot(fault)
			defer active.Remove()
			require.Equal(t, http.StatusOK, i.call(one.Access, "/v1/companies").Status)
			require.Zero(t, active.Hits())
		})
	}
	teapot(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/receipts/a%2Fb"})
	require.Equal(t, http.StatusTeapot, i.call(one.Access, "/v1/receipts/a%2Fb").Status)
	teapot(pleotest.Fault{Company: companies[0].URN(), Endpoint: pleotest.Token})
	require.Equal(t, http.StatusOK, i.token(refresh(other.Refresh)).Status)
	require.Equal(t, http.StatusTeapot, i.token(refresh(one.Refresh)).Status)
	teapot(pleotest.Fault{ClientID: i.ClientID, GrantType: pleotest.AuthorizationCode, Company: companies[2].ID})
	require.Equal(t, http.StatusTeapot, i.token(exchange(i.code(companies[2].ID))).Status)
	teapot(pleotest.Fault{Endpoint: pleotest.Authorise})
	require.Equal(t, http.StatusTeapot, i.do(i.newRequest(http.MethodGet, i.authoriseURL(i.request()), "")).Status)
}

func TestAFaultStandsUntilItIsRemoved(t *testing.T) {
	i, token := issued(t, "")
	fault := i.Fault(pleotest.Fault{Endpoint: pleotest.API, Status: http.StatusBadGateway, Times: pleotest.Always})
	for range 5 {
		require.Equal(t, http.StatusBadGateway, i.call(token, "/v1/companies").Status)
	}
	fault.Remove()
	require.Equal(t, http.StatusOK, i.call(token, "/v1/companies").Status)
	i.Fault(pleotest.Fault{Status: http.StatusBadGateway, Times: pleotest.Always})
	i.ClearFaults()
	require.Equal(t, http.StatusOK, i.call(token, "/v1/companies").Status)
}

func TestAFaultThatContradictsItselfPanics(t *testing.T) {
	i := start(t)
	for name, fault := range map[string]pleotest.Fault{
		"endpoint": {Endpoint: "x"}, "hold": {Hold: pleotest.MidBody}, "drop": {Drop: "x"}, "process": {Process: "x"},
		"body": {Body: "x"}, "status": {Status: 42}, "reset": {Reset: true}, "times": {Times: -2}, "company": {Company: "x"},
	} {
		require.Panics(t, func() { i.Fault(fault) }, name)
	}
}

func TestCloseEndsEveryWait(t *testing.T) {
	i := start(t)
	a := i.connect("")
	fault := i.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.BeforeProcessing})
	i.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, DelayBefore: 24 * time.Hour})
	failed := make(chan error, 1)
	go func() {
		_, err := i.tryToken(refresh(a.Refresh))
		failed <- err
	}()
	<-fault.Reached()
	i.Close()
	require.Error(t, <-failed)
	require.Zero(t, i.Counters().Refreshes)
	i.Close()
}

func TestWaitIsToldOfWhatHappens(t *testing.T) {
	i := start(t)
	a := i.connect("")
	go func() { _, _ = i.tryToken(refresh(a.Refresh)) }()
	require.NoError(t, i.Wait(t.Context(), func(c pleotest.Counters) bool { return c.Refreshes == 1 }))
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	require.ErrorIs(t, i.Wait(ctx, func(pleotest.Counters) bool { return false }), context.Canceled)
	i.ResetCounters()
	require.Equal(t, pleotest.Counters{}, i.Counters())
}

func TestCloseEndsWhatGoesOnInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, token := issued(t, "", pleotest.WithInMemory())
		i.Fault(pleotest.Fault{Status: http.StatusGatewayTimeout, Process: pleotest.ProcessedLater})
		require.Equal(t, http.StatusGatewayTimeout, i.call(token, "/v1/export-stream?rows=2&interval=1h").Status)
		i.Fault(pleotest.Fault{Status: http.StatusGatewayTimeout, Process: pleotest.ProcessedLater, ProcessAfter: time.Hour})
		require.Equal(t, http.StatusGatewayTimeout, i.call(token, "/v1/companies").Status)
		began := time.Now()
		i.Close()
		require.Zero(t, time.Since(began))
	})
}
