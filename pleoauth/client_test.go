package pleoauth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func newClient(t *testing.T, options ...pleotest.Option) (*pleotest.Server, *pleoauth.Client) {
	t.Helper()
	pleo := pleotest.NewServer(options...)
	t.Cleanup(pleo.Close)
	client, err := pleoauth.NewClient(pleoauth.Config{
		AuthServer: pleo.AuthURL, APIServer: pleo.APIURL, ClientID: pleo.ClientID, ClientSecret: pleo.ClientSecret,
		RedirectURI: pleotest.DefaultRedirectURI, Scopes: []string{"users:read"},
	}, nil, pleo.CertPool())
	require.NoError(t, err)
	return pleo, client
}

// TestEveryAnswerToARefreshIsSentOnceAndTyped is the failure table: whatever
// comes back, one request was made, and the error repeats nothing of the body.
func TestEveryAnswerToARefreshIsSentOnceAndTyped(t *testing.T) {
	const canary = "canary-in-the-body"
	for name, row := range map[string]struct {
		fault pleotest.Fault
		kind  error
	}{
		"invalid_grant":                {pleotest.Fault{Status: 400, Body: `{"error":"invalid_grant","error_description":"` + canary + `"}`}, pleoauth.ErrTerminal},
		"invalid_token":                {pleotest.Fault{Status: 401, Body: `{"error":"invalid_token"}`}, pleoauth.ErrTerminal},
		"invalid_refresh_token":        {pleotest.Fault{Status: 400, Body: `{"error":"invalid_refresh_token"}`}, pleoauth.ErrTerminal},
		"invalid_client":               {pleotest.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, pleoauth.ErrMisconfigured},
		"unauthorized_client":          {pleotest.Fault{Status: 400, Body: `{"error":"unauthorized_client"}`}, pleoauth.ErrMisconfigured},
		"another code":                 {pleotest.Fault{Status: 400, Body: `{"error":"` + canary + `"}`}, pleoauth.ErrAmbiguous},
		"an HTML 403":                  {pleotest.Fault{Status: 403, Body: "<html>" + canary}, pleoauth.ErrAmbiguous},
		"404":                          {pleotest.Fault{Status: 404}, pleoauth.ErrAmbiguous},
		"408":                          {pleotest.Fault{Status: 408}, pleoauth.ErrAmbiguous},
		"429":                          {pleotest.Fault{Status: 429, Header: http.Header{"Retry-After": {"3600"}}}, pleoauth.ErrRateLimited},
		"500":                          {pleotest.Fault{Status: 500, Body: canary}, pleoauth.ErrAmbiguous},
		"500 with a terminal code":     {pleotest.Fault{Status: 500, Body: `{"error":"invalid_grant"}`}, pleoauth.ErrAmbiguous},
		"503":                          {pleotest.Fault{Status: 503}, pleoauth.ErrAmbiguous},
		"a redirect":                   {pleotest.Fault{Status: 307, Header: http.Header{"Location": {"/oauth/token"}}}, pleoauth.ErrAmbiguous},
		"200 that is no JSON":          {pleotest.Fault{Status: 200, Body: "<html>" + canary}, pleoauth.ErrAmbiguous},
		"200 without a token":          {pleotest.Fault{Status: 200, Body: `{"refresh_token":"` + canary + `"}`}, pleoauth.ErrAmbiguous},
		"200 with a token of no use":   {pleotest.Fault{Status: 200, Body: `{"access_token":"a\nb"}`}, pleoauth.ErrAmbiguous},
		"dropped before processing":    {pleotest.Fault{Drop: pleotest.BeforeProcessing}, pleoauth.ErrAmbiguous},
		"dropped after processing":     {pleotest.Fault{Drop: pleotest.AfterProcessing}, pleoauth.ErrAmbiguous},
		"reset after processing":       {pleotest.Fault{Drop: pleotest.AfterProcessing, Reset: true}, pleoauth.ErrAmbiguous},
		"dropped in the body":          {pleotest.Fault{Drop: pleotest.MidBody, Set: map[string]any{"a": strings.Repeat("a", 2000)}}, pleoauth.ErrAmbiguous},
		"a body of two megabytes":      {pleotest.Fault{Status: 200, Body: `{"x":"` + strings.Repeat("x", 2<<20) + `"}`}, pleoauth.ErrAmbiguous},
		"a body of a hundred thousand": {pleotest.Fault{Status: 200, Body: strings.Repeat("[", 100_000)}, pleoauth.ErrAmbiguous},
	} {
		t.Run(name, func(t *testing.T) {
			pleo, client := newClient(t)
			given, err := pleo.Issue("", "", "")
			require.NoError(t, err)
			row.fault.Endpoint = pleotest.Token
			pleo.Fault(row.fault)
			_, err = client.Refresh(t.Context(), given.RefreshToken, time.Second)
			require.ErrorIs(t, err, row.kind)
			require.NotContains(t, err.Error(), canary)
			require.NotContains(t, err.Error(), given.RefreshToken)
			require.Equal(t, 1, pleo.Counters().TokenRequests)
		})
	}
}

func TestARefreshTellsRetryAfter(t *testing.T) {
	pleo, client := newClient(t)
	given, err := pleo.Issue("", "", "")
	require.NoError(t, err)
	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Status: 429, Header: http.Header{"Retry-After": {"3600"}}})
	_, err = client.Refresh(t.Context(), given.RefreshToken, time.Second)
	var oauth *pleoauth.OAuthError
	require.ErrorAs(t, err, &oauth)
	require.Equal(t, time.Hour, oauth.RetryAfter)
}

func TestARefreshThatNobodyAnswersToHasProvablyNotBeenSent(t *testing.T) {
	pleo, client := newClient(t)
	pleo.Close()
	_, err := client.Refresh(t.Context(), "token", time.Second)
	require.ErrorIs(t, err, pleoauth.ErrNotProcessed)
}

func TestATokenDoesNotLeaveAfterItsDeadline(t *testing.T) {
	for name, options := range map[string][]pleotest.Option{"plain": nil, "TLS": {pleotest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			pleo, client := newClient(t, options...)
			given, err := pleo.Issue("", "", "")
			require.NoError(t, err)
			conn, err := client.Dial(t.Context())
			require.NoError(t, err)
			_, err = conn.Refresh(given.RefreshToken, time.Now())
			require.ErrorIs(t, err, pleoauth.ErrNotProcessed)
			require.Zero(t, pleo.Counters().TokenRequests)

			_, err = client.Refresh(t.Context(), given.RefreshToken, time.Second)
			require.NoError(t, err)
		})
	}
}

func TestAConnectionToTheTokenEndpointIsGoodForOneRequest(t *testing.T) {
	pleo, client := newClient(t)
	given, err := pleo.Issue("", "", "")
	require.NoError(t, err)
	conn, err := client.Dial(t.Context())
	require.NoError(t, err)
	deadline := time.Now().Add(time.Minute)
	g, err := conn.Refresh(given.RefreshToken, deadline)
	require.NoError(t, err)
	_, err = conn.Refresh(g.RefreshToken, deadline)
	require.ErrorIs(t, err, pleoauth.ErrNotProcessed)
	require.Equal(t, 1, pleo.Counters().TokenRequests)
}

func TestAnyLifetimeIsReadableAndNoneCostsThePair(t *testing.T) {
	for name, row := range map[string]struct {
		value any
		want  time.Duration
	}{
		"a number":      {900, 15 * time.Minute},
		"a string":      {"60", time.Minute},
		"a fraction":    {59.5, 59*time.Second + 500*time.Millisecond},
		"zero":          {0, 0},
		"less than one": {-5, 0},
		"huge":          {1e300, 24 * time.Hour},
		"a word":        {"soon", 5 * time.Minute},
		"null":          {nil, 5 * time.Minute},
		"an object":     {map[string]any{}, 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			pleo, client := newClient(t)
			given, err := pleo.Issue("", "", "")
			require.NoError(t, err)
			pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Set: map[string]any{"expires_in": row.value}})
			g, err := client.Refresh(t.Context(), given.RefreshToken, time.Second)
			require.NoError(t, err)
			require.Equal(t, row.want, g.ExpiresIn)
		})
	}
}

func TestAnAnswerWithoutRefreshTokenIsTold(t *testing.T) {
	pleo, client := newClient(t)
	given, err := pleo.Issue("", "", "")
	require.NoError(t, err)
	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Omit: []string{"refresh_token"}})
	g, err := client.Refresh(t.Context(), given.RefreshToken, time.Second)
	require.NoError(t, err)
	require.True(t, g.NoRefreshToken)
	require.Equal(t, given.RefreshToken, g.RefreshToken)
}

func TestIntrospectionSaysYesOrNoOrFails(t *testing.T) {
	pleo, client := newClient(t)
	given, err := pleo.Issue("", "", "")
	require.NoError(t, err)
	for _, token := range []struct {
		value string
		kind  pleoauth.TokenKind
	}{{given.AccessToken, pleoauth.AccessTokenKind}, {given.RefreshToken, pleoauth.RefreshTokenKind}} {
		seen, err := client.Introspect(t.Context(), token.value, token.kind)
		require.NoError(t, err)
		require.True(t, seen.Active)
		require.Equal(t, pleotest.Companies()[0].URN(), seen.Subject)
	}
	seen, err := client.Introspect(t.Context(), "unknown", pleoauth.AccessTokenKind)
	require.NoError(t, err)
	require.False(t, seen.Active)
	for name, fault := range map[string]pleotest.Fault{
		"503":                {Status: 503},
		"404 that says no":   {Status: 404, Body: `{"active":false}`},
		"a string":           {Status: 200, Body: `{"active":"false"}`},
		"nothing":            {Status: 200, Body: `{}`},
		"HTML":               {Status: 200, Body: `<html>`},
		"a redirect":         {Status: 302, Header: http.Header{"Location": {"/"}}},
		"a dropped answer":   {Drop: pleotest.AfterProcessing},
		"an answer cut off ": {Drop: pleotest.MidBody},
	} {
		t.Run(name, func(t *testing.T) {
			fault.Endpoint = pleotest.Introspect
			pleo.Fault(fault)
			_, err := client.Introspect(t.Context(), given.RefreshToken, pleoauth.RefreshTokenKind)
			require.Error(t, err)
			require.NotContains(t, err.Error(), given.RefreshToken)
		})
	}
}

func TestAPublicClientSendsItsIDAndNoSecret(t *testing.T) {
	public := pleotest.DefaultClient()
	public.ID, public.Secret = "public-client", ""
	pleo, client := newClient(t, pleotest.WithClient(public))
	given, err := pleo.Issue("", "", "")
	require.NoError(t, err)
	g, err := client.Refresh(t.Context(), given.RefreshToken, time.Second)
	require.NoError(t, err)
	seen, err := client.Introspect(t.Context(), g.AccessToken, pleoauth.AccessTokenKind)
	require.NoError(t, err)
	require.True(t, seen.Active)
}
