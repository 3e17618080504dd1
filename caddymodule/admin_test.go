package caddymodule_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheAdminEndpointShowsConnectionsAndNoToken(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	res := w.adminCall(http.MethodGet, "/pleo/connections")
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.JSONEq(t, `{"connections":[]}`, res.body)

	for i := range 5 {
		w.connect(fmt.Sprintf("c:%d", i), "")
	}
	seen := map[string]bool{}
	cursor := ""
	for pages := 0; ; pages++ {
		require.Less(t, pages, 10)
		res := w.adminCall(http.MethodGet, "/pleo/connections?limit=2&cursor="+cursor)
		require.Equal(t, http.StatusOK, res.StatusCode, res.body)
		var page struct {
			Connections []struct{ Name string }
			Next        string
		}
		require.NoError(t, json.Unmarshal([]byte(res.body), &page))
		for _, c := range page.Connections {
			seen[c.Name] = true
		}
		if page.Next == "" {
			break
		}
		cursor = page.Next
	}
	require.Len(t, seen, 5)

	one := w.adminCall(http.MethodGet, "/pleo/connections/c:1")
	require.Equal(t, http.StatusOK, one.StatusCode, one.body)
	require.Equal(t, "connected", one.json(t)["state"])
	before := one.json(t)["generation"]
	refreshed := w.adminCall(http.MethodPost, "/pleo/connections/c:1/refresh")
	require.Equal(t, http.StatusOK, refreshed.StatusCode, refreshed.body)
	require.Greater(t, refreshed.json(t)["generation"], before)
	require.Equal(t, 1, w.pleo.Counters().Refreshes)

	require.Equal(t, http.StatusNoContent, w.adminCall(http.MethodDelete, "/pleo/connections/c:1").StatusCode)
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: c:1"), 401, "not-connected")

	for _, secret := range w.pleo.Secrets() {
		for _, body := range []string{res.body, one.body, refreshed.body, w.adminCall(http.MethodGet, "/config/").body} {
			require.NotContains(t, body, secret)
		}
	}
}

func TestTheAdminEndpointRefusesWhatItDoesNotKnow(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	for call, status := range map[[2]string]int{
		{http.MethodPost, "/pleo/connections"}:               405,
		{http.MethodGet, "/pleo/connections?limit=0"}:        400,
		{http.MethodGet, "/pleo/connections?limit=x"}:        400,
		{http.MethodGet, "/pleo/connections?limit=1001"}:     400,
		{http.MethodGet, "/pleo/connections/nobody"}:         404,
		{http.MethodDelete, "/pleo/connections/nobody"}:      404,
		{http.MethodPost, "/pleo/connections/nobody"}:        405,
		{http.MethodPost, "/pleo/connections/x/refresh"}:     404,
		{http.MethodGet, "/pleo/connections/x/refresh"}:      405,
		{http.MethodPost, "/pleo/connections/x/delete"}:      404,
		{http.MethodGet, "/pleo/connections/a%2Fb"}:          400,
		{http.MethodGet, "/pleo/connections/x/refresh/more"}: 404,
	} {
		res := w.adminCall(call[0], call[1])
		require.Equal(t, status, res.StatusCode, "%v: %s", call, res.body)
	}
}
