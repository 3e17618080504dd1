package pleotest_test

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// control talks to the control handler as another process would.
func (i *integration) control(method, path, body string) answer {
	i.t.Helper()
	r := i.newRequest(method, i.ControlURL+path, body)
	r.Header.Set("Content-Type", "application/json")
	return i.do(r)
}

func TestAnotherProcessSeesTheCounters(t *testing.T) {
	i := start(t)
	i.connect("")
	a := i.control(http.MethodGet, "/counters", "")
	require.Equal(t, 1, number(t, a.Body["exchanges"]))
	require.Equal(t, 0, number(t, a.Body["replays"]))
	require.Equal(t, http.StatusNoContent, i.control(http.MethodDelete, "/counters", "").Status)
	require.Zero(t, i.Counters().Exchanges)
}

func TestAnotherProcessSetsFaults(t *testing.T) {
	i := start(t)
	a := i.connect("")
	set := i.control(http.MethodPost, "/faults",
		`{"endpoint":"token","grant_type":"refresh_token","hold":"after","set":{"expires_in":1e400}}`)
	require.Equal(t, http.StatusCreated, set.Status, set.Raw)
	id := as[string](t, set.Body["id"])
	answered := make(chan answer, 1)
	go func() {
		got, _ := i.tryToken(refresh(a.Refresh))
		answered <- got
	}()
	require.Eventually(t, func() bool {
		var faults []struct {
			Hits    int
			Reached bool
		}
		_ = json.Unmarshal([]byte(i.control(http.MethodGet, "/faults", "").Raw), &faults)
		return len(faults) == 1 && faults[0].Reached && faults[0].Hits == 1
	}, 10*time.Second, 5*time.Millisecond)
	require.Equal(t, http.StatusNoContent, i.control(http.MethodPost, "/faults/"+id+"/release", "").Status)
	require.Contains(t, (<-answered).Raw, `"expires_in":1e400`)
	require.Equal(t, http.StatusNoContent, i.control(http.MethodDelete, "/faults/"+id, "").Status)
	require.Equal(t, http.StatusNotFound, i.control(http.MethodDelete, "/faults/nothing", "").Status)
	require.Equal(t, http.StatusNoContent, i.control(http.MethodDelete, "/faults", "").Status)
	require.Equal(t, "[]\n", i.control(http.MethodGet, "/faults", "").Raw)
}

func TestAFaultIsTheSameInJSON(t *testing.T) {
	i := start(t)
	fault := pleotest.Fault{
		Endpoint: pleotest.API, GrantType: "g", ClientID: "c", Company: "Harbour & Finch Ltd", Kind: pleotest.AccessToken,
		Method: "GET", Path: "/p", Skip: 1, Times: 2, DelayBefore: time.Second, DelayAfter: 2 * time.Second,
		Hold: pleotest.AfterProcessing, Transfer: pleotest.NoLastChunk, Reset: true, Status: 500,
		Header: http.Header{"A": {"b"}}, Body: "x", Process: pleotest.ProcessedLater, ProcessAfter: 3 * time.Second,
		Set: map[string]any{"a": 1}, Omit: []string{"b"}, Pad: map[string]pleotest.Padding{"c": {Before: "d", After: "e"}},
		Prefix: "\ufeff", Suffix: "//", Gzip: true, AccessDeadOnArrival: true, RefreshDeadOnArrival: true,
		Lag: 4 * time.Second,
	}
	encoded, err := json.Marshal(fault)
	require.NoError(t, err)
	require.Equal(t, http.StatusCreated, i.control(http.MethodPost, "/faults", string(encoded)).Status)
	var listed []struct{ Fault json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(i.control(http.MethodGet, "/faults", "").Raw), &listed))
	require.JSONEq(t, string(encoded), string(listed[0].Fault))
	require.Contains(t, string(encoded), `"delay_before":"1s"`)
	encoded, err = json.Marshal(pleotest.Fault{GoAway: true})
	require.NoError(t, err)
	require.JSONEq(t, `{"go_away":true}`, string(encoded))
	require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/faults", `{"drop":"after","reset":true,"go_away":true}`).Status)
	require.Equal(t, http.StatusCreated, i.control(http.MethodPost, "/faults", string(encoded)).Status)
}

func TestAnotherProcessRevokesAndSetsLives(t *testing.T) {
	i := start(t)
	a := i.connect("")
	got := i.control(http.MethodPost, "/revoke", `{"company":"`+pleotest.Companies()[0].ID+`","kind":"access_token"}`)
	require.Equal(t, 1, number(t, got.Body["ended"]))
	require.False(t, i.alive(a.Access))
	got = i.control(http.MethodPost, "/revoke", `{"expire":true}`)
	require.Equal(t, 1, number(t, got.Body["ended"]))
	require.False(t, i.alive(a.Refresh))
	require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/access-token-life", `{"life":"1m"}`).Status)
	require.Equal(t, 60, number(t, i.connect("").Body["expires_in"]))
}

func TestAnotherProcessPlaysTheUser(t *testing.T) {
	i := start(t)
	body, err := json.Marshal(map[string]string{"url": i.authoriseURL(i.request()), "company": pleotest.Companies()[1].Name})
	require.NoError(t, err)
	got := i.control(http.MethodPost, "/approve", string(body))
	code := parse(t, as[string](t, got.Body["redirect"])).Query().Get("code")
	require.Equal(t, http.StatusOK, i.token(exchange(code)).Status)
	body, err = json.Marshal(map[string]string{"url": i.authoriseURL(i.request())})
	require.NoError(t, err)
	require.Contains(t, i.control(http.MethodPost, "/deny", string(body)).Body["redirect"], "access_denied")
	require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/approve", `{"url":"http://x/"}`).Status)
	require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/consent", `{"decision":"deny"}`).Status)
	require.Equal(t, http.StatusFound, i.do(i.newRequest(http.MethodGet, i.authoriseURL(i.request()), "")).Status)
	issued := i.control(http.MethodPost, "/issue", `{"scope":"users:read"}`)
	require.Equal(t, http.StatusOK, i.call(issued.Access, "/v2/employees").Status)
}

func TestTheStateIsShownWithoutSecrets(t *testing.T) {
	i := start(t)
	i.connect("")
	a := i.control(http.MethodGet, "/state", "")
	require.Len(t, a.Body["authorisations"], 1)
	require.Len(t, a.Body["companies"], 3)
	for _, secret := range i.Secrets() {
		require.NotContains(t, a.Raw, secret)
	}
	var secrets []string
	require.NoError(t, json.Unmarshal([]byte(i.control(http.MethodGet, "/secrets", "").Raw), &secrets))
	require.Equal(t, i.Secrets(), secrets)
}

func TestTheControlHandlerIsStrict(t *testing.T) {
	i := start(t)
	for path, body := range map[string]string{
		"/faults": `{"endpont":"token"}`, "/revoke": `{`, "/access-token-life": `{"life":"soon"}`,
		"/consent": `{"decision":"x"}`, "/issue": `{"company":"x"}`, "/refuse-early": `{"early":"yes"}`,
	} {
		require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, path, body).Status, path)
	}
	require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/faults", `{"drop":"x"}`).Status)
	require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/access-token-life", `{"life":"-1s"}`).Status)
	require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/refuse-early", `{"early":true}`).Status)
	r := i.newRequest(http.MethodPost, i.ControlURL+"/revoke", `{}`)
	require.Equal(t, http.StatusUnsupportedMediaType, i.do(r).Status, "no form of a web page")
	r = i.newRequest(http.MethodPost, i.ControlURL+"/revoke", `{}`)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	require.Equal(t, http.StatusForbidden, i.do(r).Status)
}
