package pleotest_test

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAConfidentialClientAuthenticatesByBasicAlone(t *testing.T) {
	i := start(t)
	post := func(change func(*http.Request, url.Values)) answer {
		form := refresh("whatever")
		r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", "")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		change(r, form)
		withBody := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", form.Encode())
		withBody.Header = r.Header
		return i.do(withBody)
	}
	for name, change := range map[string]func(*http.Request, url.Values){
		"nothing":         func(*http.Request, url.Values) {},
		"client_id alone": func(_ *http.Request, v url.Values) { v.Set("client_id", i.ClientID) },
		"secret in the form": func(_ *http.Request, v url.Values) {
			v.Set("client_id", i.ClientID)
			v.Set("client_secret", i.ClientSecret)
		},
		"secret in both": func(r *http.Request, v url.Values) {
			r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
			v.Set("client_secret", i.ClientSecret)
		},
		"not form-encoded": func(r *http.Request, _ url.Values) { r.SetBasicAuth(i.ClientID, i.ClientSecret) },
		"a wrong secret":   func(r *http.Request, _ url.Values) { r.SetBasicAuth(url.QueryEscape(i.ClientID), "wrong") },
		"a wrong id":       func(r *http.Request, _ url.Values) { r.SetBasicAuth("wrong", url.QueryEscape(i.ClientSecret)) },
		"another scheme":   func(r *http.Request, _ url.Values) { r.Header.Set("Authorization", "Bearer x") },
		"another client_id": func(r *http.Request, v url.Values) {
			r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
			v.Set("client_id", "other")
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := i.Counters().ClientRefusals
			a := post(change)
			require.Equal(t, http.StatusUnauthorized, a.Status)
			require.Equal(t, "invalid_client", a.error())
			require.Contains(t, a.Header.Get("WWW-Authenticate"), "Basic")
			require.Equal(t, before+1, i.Counters().ClientRefusals)
		})
	}
}

func TestAPublicClientSendsItsIDInTheFormAndNoHeader(t *testing.T) {
	i := start(t, pleotest.WithClient(pleotest.Client{ID: "public", Name: "A public client"}))
	require.Empty(t, i.ClientSecret)
	form := exchange(i.code(""))
	require.Equal(t, "invalid_client", i.post("/oauth/token", form).error(), "with a header")
	form.Set("client_id", "public")
	a := i.postAs("", "", "/oauth/token", form)
	require.Equal(t, http.StatusOK, a.Status, a.Raw)
	question := url.Values{"token": {a.Access}, "client_id": {"public"}}
	require.Equal(t, true, i.postAs("", "", "/oauth/token/introspect", question).Body["active"])
	renewal := refresh(a.Refresh)
	renewal.Set("client_id", "public")
	require.Equal(t, http.StatusOK, i.postAs("", "", "/oauth/token", renewal).Status)
}

func TestAClientsSecretCanBeChanged(t *testing.T) {
	i := start(t)
	a := i.connect("")
	client := pleotest.DefaultClient()
	client.Secret = "the-next-secret"
	require.NoError(t, i.AddClient(client))
	require.Equal(t, "invalid_client", i.token(refresh(a.Refresh)).error())
	require.Equal(t, http.StatusOK, i.postAs(i.ClientID, "the-next-secret", "/oauth/token", refresh(a.Refresh)).Status)
}

func TestARefreshTokenIsItsClientsAlone(t *testing.T) {
	other := pleotest.Client{ID: "other", Secret: "other-secret"}
	i := start(t, pleotest.WithClient(pleotest.DefaultClient()), pleotest.WithClient(other))
	a := i.connect("")
	require.Equal(t, "invalid_grant", i.postAs("other", "other-secret", "/oauth/token", refresh(a.Refresh)).error())
	require.True(t, i.alive(a.Refresh), "a stranger cannot end an authorisation")
}

func TestTheTokenEndpointIsStrictAboutForm(t *testing.T) {
	i := start(t)
	a := i.connect("")
	send := func(method, query, contentType, body string) answer {
		r := i.newRequest(method, i.AuthURL+"/oauth/token"+query, body)
		r.Header.Set("Content-Type", contentType)
		r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
		return i.do(r)
	}
	const form = "application/x-www-form-urlencoded"
	good := refresh(a.Refresh).Encode()
	require.Equal(t, http.StatusMethodNotAllowed, send(http.MethodPut, "", form, good).Status)
	require.Equal(t, http.StatusMethodNotAllowed, send(http.MethodGet, "", form, "").Status)
	for name, got := range map[string]answer{
		"JSON":             send(http.MethodPost, "", "application/json", `{"grant_type":"refresh_token"}`),
		"no type":          send(http.MethodPost, "", "", good),
		"query":            send(http.MethodPost, "?a=b", form, good),
		"doubled":          send(http.MethodPost, "", form, good+"&refresh_token=x"),
		"badly encoded":    send(http.MethodPost, "", form, good+"&a=%zz"),
		"no grant type":    send(http.MethodPost, "", form, "refresh_token=x"),
		"empty token":      send(http.MethodPost, "", form, "grant_type=refresh_token&refresh_token="),
		"more than a form": send(http.MethodPost, "", form, good+"&a="+strings.Repeat("a", 1<<17)),
	} {
		require.Equal(t, http.StatusBadRequest, got.Status, name)
		require.Equal(t, "invalid_request", got.error(), name)
	}
	require.Equal(t, "unsupported_grant_type", send(http.MethodPost, "", form, "grant_type=password").error())
	require.Equal(t, "invalid_scope", send(http.MethodPost, "", form, good+"&scope=users:write").error())
	require.Equal(t, http.StatusOK, send(http.MethodPost, "", form+"; charset=utf-8", good).Status)
}

func TestAFormThatIsCutShortIsNotProcessed(t *testing.T) {
	i := start(t)
	a := i.connect("")
	conn, err := net.Dial("tcp", strings.TrimPrefix(i.AuthURL, "http://"))
	require.NoError(t, err)
	r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", "")
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
	form := refresh(a.Refresh).Encode()
	_, err = fmt.Fprintf(conn, "POST /oauth/token HTTP/1.1\r\nHost: auth\r\nAuthorization: %s\r\n"+
		"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%s",
		r.Header.Get("Authorization"), len(form)+1, form)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, i.Wait(t.Context(), func(c pleotest.Counters) bool { return c.RefreshRequests == 1 }))
	require.True(t, i.alive(a.Refresh))
	require.Zero(t, i.Counters().Refreshes)
}
