package pleotest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestIntrospectionDescribesALiveTokenOfEitherKind(t *testing.T) {
	i := start(t)
	a := i.connect("")
	ids := map[any]bool{}
	for token, life := range map[string]int{a.Access: 900, a.Refresh: 60 * 24 * 3600} {
		got := i.introspect(token).Body
		require.Equal(t, true, got["active"])
		require.Equal(t, i.ClientID, got["client_id"])
		require.Equal(t, i.AuthURL, got["iss"])
		require.Equal(t, i.APIURL, got["aud"])
		require.Equal(t, pleotest.Companies()[0].URN(), got["urn:pleo:params:oauth:subject_urn"])
		require.NotEmpty(t, got["sub"])
		require.Equal(t, life, number(t, got["exp"])-number(t, got["iat"]))
		require.Len(t, got, 9)
		ids[got["jti"]] = true
	}
	require.Len(t, ids, 2)
	require.Equal(t, 2, i.Counters().Introspections)
}

func TestTheHintIsAHint(t *testing.T) {
	i := start(t)
	a := i.connect("")
	for _, hint := range []string{"", "access_token", "refresh_token"} {
		for _, token := range []string{a.Access, a.Refresh} {
			got := i.post("/oauth/token/introspect", url.Values{"token": {token}, "token_type_hint": {hint}})
			require.Equal(t, true, got.Body["active"])
		}
	}
	got := i.post("/oauth/token/introspect", url.Values{"token": {a.Access}, "token_type_hint": {"cookie"}})
	require.Equal(t, "invalid_request", got.error())
	require.Equal(t, "invalid_request", i.post("/oauth/token/introspect", url.Values{}).error())
}

func TestAnInactiveTokenAnswersThatAndNoMore(t *testing.T) {
	other := pleotest.Client{ID: "other", Secret: "other-secret"}
	i := start(t, pleotest.WithClient(pleotest.DefaultClient()), pleotest.WithClient(other))
	a := i.connect("")
	const want = `{"active":false}` + "\n"
	require.Equal(t, want, i.introspect("unknown").Raw)
	require.Equal(t, want,
		i.postAs("other", "other-secret", "/oauth/token/introspect", url.Values{"token": {a.Access}}).Raw,
		"only the client that got a token may ask about it")
	i.Revoke(pleotest.Target{})
	require.Equal(t, want, i.introspect(a.Access).Raw)
	require.Equal(t, want, i.introspect(a.Refresh).Raw)
}

func TestIntrospectionNeedsTheClientsAuthentication(t *testing.T) {
	i := start(t)
	a := i.connect("")
	got := i.postAs("", "", "/oauth/token/introspect", url.Values{"token": {a.Access}, "client_id": {i.ClientID}})
	require.Equal(t, http.StatusUnauthorized, got.Status)
	require.Equal(t, "invalid_client", got.error())
}

func TestIntrospectingADeadRefreshTokenIsNoUseOfIt(t *testing.T) {
	i := start(t)
	first := i.connect("")
	second := i.token(refresh(first.Refresh))
	require.False(t, i.alive(first.Refresh))
	require.True(t, i.alive(second.Refresh))
	require.Equal(t, http.StatusOK, i.token(refresh(second.Refresh)).Status)
	require.Zero(t, i.Counters().Replays)
}

func TestRevocationTakesWhatItIsTold(t *testing.T) {
	companies := pleotest.Companies()
	for name, test := range map[string]struct {
		target            func(pleotest.Authorisation) pleotest.Target
		ended             int
		access, refreshes bool // of the first authorisation, afterwards
	}{
		"everything":       {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{} }, 4, false, false},
		"an authorisation": {func(a pleotest.Authorisation) pleotest.Target { return pleotest.Target{Authorisation: a.ID} }, 2, false, false},
		"a company":        {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{Company: companies[0].Name} }, 2, false, false},
		"another company":  {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{Company: companies[2].URN()} }, 0, true, true},
		"no such company":  {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{Company: "x"} }, 0, true, true},
		"another client":   {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{ClientID: "x"} }, 0, true, true},
		"an access token":  {func(a pleotest.Authorisation) pleotest.Target { return pleotest.Target{Token: a.AccessToken} }, 1, false, true},
		"refresh tokens":   {func(pleotest.Authorisation) pleotest.Target { return pleotest.Target{Kind: pleotest.RefreshToken} }, 2, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			i := start(t)
			a, err := i.Issue("", "", "")
			require.NoError(t, err)
			_, err = i.Issue("", companies[1].ID, "")
			require.NoError(t, err)
			require.Equal(t, test.ended, i.Revoke(test.target(a)))
			require.Equal(t, test.access, i.alive(a.AccessToken))
			require.Equal(t, test.refreshes, i.alive(a.RefreshToken))
			require.Equal(t, test.refreshes, i.Authorisations(pleotest.Target{Company: companies[0].ID})[0].Connected)
		})
	}
}

func TestExpiryOnDemandLooksLikeExpiry(t *testing.T) {
	i := start(t)
	a := i.connect("")
	require.Equal(t, 1, i.Expire(pleotest.Target{Kind: pleotest.RefreshToken}))
	require.Equal(t, "invalid_grant", i.token(refresh(a.Refresh)).error())
	require.Equal(t, 1, i.Counters().DeadRefreshes)
	require.Equal(t, 1, i.Expire(pleotest.Target{Kind: pleotest.AccessToken}))
	require.Equal(t, http.StatusUnauthorized, i.call(a.Access, "/v1/companies").Status)
}

func TestIntrospectionCanBeIgnorantOfTokens(t *testing.T) {
	refreshTokens := []pleotest.TokenKind{pleotest.RefreshToken}
	both := []pleotest.TokenKind{pleotest.AccessToken, pleotest.RefreshToken}
	i := start(t, pleotest.WithIntrospection(pleotest.Introspection{Unknown: refreshTokens}))
	a := i.connect("")
	require.True(t, i.alive(a.Access))
	require.Equal(t, `{"active":false}`+"\n", i.introspect(a.Refresh).Raw)
	hinted := url.Values{"token": {a.Refresh}, "token_type_hint": {"access_token"}}
	require.Equal(t, false, i.post("/oauth/token/introspect", hinted).Body["active"], "a hint does not help")

	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound} {
		require.NoError(t, i.SetIntrospection(pleotest.Introspection{Unknown: refreshTokens, Status: status}))
		got := i.introspect(a.Refresh)
		require.Equal(t, status, got.Status)
		require.Equal(t, "unsupported_token_type", got.error())
		require.True(t, i.alive(a.Access))
		hinted = url.Values{"token": {"never issued"}, "token_type_hint": {"refresh_token"}}
		require.Equal(t, status, i.post("/oauth/token/introspect", hinted).Status)
	}
	require.Zero(t, i.Counters().ClientRefusals)

	require.NoError(t, i.SetIntrospection(pleotest.Introspection{Unknown: both}))
	require.False(t, i.alive(a.Access))
	require.False(t, i.alive(a.Refresh))
	require.NoError(t, i.SetIntrospection(pleotest.Introspection{}))
	require.True(t, i.alive(a.Refresh))
	require.Equal(t, http.StatusOK, i.token(refresh(a.Refresh)).Status, "the token endpoint knows them all the time")

	for _, wrong := range []pleotest.Introspection{
		{Unknown: []pleotest.TokenKind{"cookie"}}, {Unknown: both, Status: 200}, {Status: 404},
	} {
		require.Error(t, i.SetIntrospection(wrong))
		_, err := pleotest.NewEmulator(pleotest.WithIntrospection(wrong))
		require.Error(t, err)
	}
}

func TestAnotherProcessMakesIntrospectionIgnorant(t *testing.T) {
	i := start(t)
	a := i.connect("")
	set := i.control(http.MethodPost, "/introspection", `{"unknown":["refresh_token"],"status":403}`)
	require.Equal(t, http.StatusOK, set.Status, set.Raw)
	require.Equal(t, http.StatusForbidden, i.introspect(a.Refresh).Status)
	require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/introspection", `{}`).Status)
	require.True(t, i.alive(a.Refresh))
	require.Equal(t, http.StatusBadRequest, i.control(http.MethodPost, "/introspection", `{"unknown":["x"]}`).Status)
}
