package pleotest_test

import (
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestADeadOrUnknownTokenGets401(t *testing.T) {
	i, token := issued(t, "")
	other, err := i.Issue("", "", "")
	require.NoError(t, err)
	i.Revoke(pleotest.Target{Token: token})
	for name, token := range map[string]string{
		"revoked": token, "malformed": "not a token", "unknown": "abc", "a refresh token": other.RefreshToken, "empty": "",
	} {
		a := i.call(token, "/v2/employees")
		require.Equal(t, http.StatusUnauthorized, a.Status, name)
		require.Equal(t, `Bearer error="invalid_token"`, a.Header.Get("WWW-Authenticate"), name)
		require.Equal(t, "application/json", a.Header.Get("Content-Type"), name)
		require.Equal(t, "invalid_token", a.error(), name)
	}
	require.Equal(t, http.StatusUnauthorized, i.call("x", "/no/such/address").Status, "the token comes first")
	require.Equal(t, 1, i.Counters().DeadTokenCalls)
	require.Equal(t, 6, i.Counters().APICalls)
	require.Zero(t, i.Counters().Replays)
}

func TestATokenBelongsInTheAuthorizationHeaderAlone(t *testing.T) {
	i, token := issued(t, "")
	form := strings.NewReader("access_token=" + url.QueryEscape(token))
	r := i.newRequest(http.MethodGet, i.APIURL+"/v2/employees", "")
	a := i.do(r)
	require.Equal(t, http.StatusUnauthorized, a.Status)
	require.Equal(t, "Bearer", a.Header.Get("WWW-Authenticate"), "nothing is wrong with a token that is not there")
	require.Equal(t, 1, i.Counters().TokenlessCalls)

	r = i.newRequest(http.MethodGet, i.APIURL+"/v2/employees?access_token="+url.QueryEscape(token), "")
	require.Equal(t, http.StatusUnauthorized, i.do(r).Status)
	r.Header.Set("Authorization", "Bearer "+token)
	require.Equal(t, http.StatusBadRequest, i.do(r).Status)
	require.Equal(t, http.StatusBadRequest, i.call(token, "/v2/employees?x="+url.QueryEscape(token)).Status)
	require.Equal(t, http.StatusBadRequest,
		i.send(http.MethodPost, "/v1/receipts", token, form, "Content-Type", "application/x-www-form-urlencoded").Status)
	require.Equal(t, 4, i.Counters().MisplacedTokens)

	r = i.newRequest(http.MethodGet, i.APIURL+"/v2/employees", "")
	r.Header["Authorization"] = []string{"Bearer " + token, "Bearer " + token}
	require.Equal(t, http.StatusBadRequest, i.do(r).Status)
	r.Header["Authorization"] = []string{"Basic " + token}
	require.Equal(t, http.StatusUnauthorized, i.do(r).Status)
	r.Header["Authorization"] = []string{"bearer " + token}
	require.Equal(t, http.StatusOK, i.do(r).Status, "the scheme's case does not count")
}

func TestAMissingScopeGets403(t *testing.T) {
	i := start(t)
	a, err := i.Issue("", "", "export:read")
	require.NoError(t, err)
	got := i.call(a.AccessToken, "/v2/employees")
	require.Equal(t, http.StatusForbidden, got.Status)
	require.Contains(t, got.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`)
	require.Equal(t, http.StatusOK, i.call(a.AccessToken, "/v3/export-items").Status)
	require.Equal(t, http.StatusForbidden, i.send(http.MethodPost, "/v3/export-jobs", a.AccessToken, strings.NewReader("{}")).Status)
	require.Zero(t, i.Counters().DeadTokenCalls)
	require.Equal(t, http.StatusNotFound, i.call(a.AccessToken, "/v9/nothing").Status)
}

// refuseUpload sends a body that does not end until the answer is there, and
// reports whether the answer came first.
func refuseUpload(t *testing.T, options ...pleotest.Option) (early bool) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, append(options, pleotest.WithInMemory())...)
		body, writer := io.Pipe()
		defer func() { _ = writer.Close() }()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, i.APIURL+"/v1/receipts", body)
		require.NoError(t, err)
		r.Header.Set("Authorization", "Bearer dead")
		answered := make(chan int, 1)
		go func() {
			response, err := i.http.Do(r)
			if err == nil {
				_ = response.Body.Close()
				answered <- response.StatusCode
			}
		}()
		go func() { _, _ = writer.Write([]byte("the beginning")) }()
		synctest.Wait()
		early = len(answered) == 1
		_ = writer.Close()
		require.Equal(t, http.StatusUnauthorized, <-answered)
	})
	return early
}

func TestARefusalComesBeforeOrAfterTheBodyIsRead(t *testing.T) {
	require.False(t, refuseUpload(t))
	require.True(t, refuseUpload(t, pleotest.WithEarlyRefusal()))
}

func TestAnEarlyRefusalNeedsNoContinue(t *testing.T) {
	i := start(t, pleotest.WithEarlyRefusal())
	var continued bool
	r := i.newRequest(http.MethodPost, i.APIURL+"/v1/receipts", "body")
	r = r.WithContext(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got100Continue: func() { continued = true }}))
	r.Header.Set("Authorization", "Bearer dead")
	r.Header.Set("Expect", "100-continue")
	as[*http.Transport](t, i.http.Transport).ExpectContinueTimeout = time.Minute
	require.Equal(t, http.StatusUnauthorized, i.do(r).Status)
	require.False(t, continued)
}
