package pleotest_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestACodeBuysAPairOfTokens(t *testing.T) {
	i := start(t)
	a := i.connect("")
	require.Equal(t, "Bearer", a.Body["token_type"])
	require.Equal(t, 900, number(t, a.Body["expires_in"]))
	require.Equal(t, "users:read export:read", a.Body["scope"])
	require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	require.Equal(t, "application/json", a.Header.Get("Content-Type"))
	require.NotEqual(t, a.Access, a.Refresh)
	require.Regexp(t, `^[A-Za-z0-9._~+/-]+=*$`, a.Access, "b64token, RFC 6750 section 2.1")
	require.NotEqual(t, url.QueryEscape(a.Refresh), a.Refresh, "a refresh token has to be encoded")
	require.Equal(t, 1, i.Counters().Exchanges)
}

func TestACodeWorksOnceAndItsSecondUseKillsWhatTheFirstIssued(t *testing.T) {
	i := start(t)
	code := i.code("")
	a := i.token(exchange(code))
	again := i.token(exchange(code))
	require.Equal(t, http.StatusBadRequest, again.Status)
	require.Equal(t, "invalid_grant", again.error())
	require.False(t, i.alive(a.Access))
	require.False(t, i.alive(a.Refresh))
	require.Equal(t, 1, i.Counters().CodeReplays)
	require.Equal(t, 1, i.Counters().Exchanges)
}

func TestACodeIsShortLived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		code := i.code("")
		time.Sleep(time.Minute)
		require.Equal(t, "invalid_grant", i.token(exchange(code)).error())
	})
}

func TestACodeIsBoundToItsRequest(t *testing.T) {
	other := pleotest.Client{ID: "other", Secret: "other-secret", RedirectURIs: []string{redirectURI}}
	i := start(t, pleotest.WithClient(pleotest.DefaultClient()), pleotest.WithClient(other))
	for name, test := range map[string]struct {
		change func(url.Values)
		want   string
	}{
		"no redirect URI":      {func(v url.Values) { v.Del("redirect_uri") }, "invalid_request"},
		"another redirect URI": {func(v url.Values) { v.Set("redirect_uri", "https://a.example") }, "invalid_grant"},
		"no verifier":          {func(v url.Values) { v.Del("code_verifier") }, "invalid_request"},
		"another verifier":     {func(v url.Values) { v.Set("code_verifier", strings.Repeat("a", 43)) }, "invalid_grant"},
		"another code":         {func(v url.Values) { v.Set("code", "guess") }, "invalid_grant"},
		"no code":              {func(v url.Values) { v.Del("code") }, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			form := exchange(i.code(""))
			test.change(form)
			require.Equal(t, test.want, i.token(form).error())
		})
	}
	code := i.code("")
	require.Equal(t, "invalid_grant", i.postAs("other", "other-secret", "/oauth/token", exchange(code)).error())
	require.Equal(t, http.StatusOK, i.token(exchange(code)).Status, "another client's attempt does not spend a code")
	require.Equal(t, 1, i.Counters().Exchanges)
}

func TestAVerifierHas43To128Characters(t *testing.T) {
	i := start(t)
	for _, verifier := range []string{"short", strings.Repeat("a", 129), strings.Repeat("ä", 43)} {
		form := exchange(i.code(""))
		form.Set("code_verifier", verifier)
		require.Equal(t, "invalid_grant", i.token(form).error())
	}
}

func TestARefreshIssuesAPairAndKillsThePreviousOneAtOnce(t *testing.T) {
	i := start(t)
	first := i.connect("")
	second := i.token(refresh(first.Refresh))
	require.Equal(t, http.StatusOK, second.Status)
	require.NotEqual(t, first.Access, second.Access)
	require.NotEqual(t, first.Refresh, second.Refresh)
	require.False(t, i.alive(first.Access))
	require.False(t, i.alive(first.Refresh))
	require.True(t, i.alive(second.Access))
	require.True(t, i.alive(second.Refresh))
	require.Equal(t, http.StatusUnauthorized, i.call(first.Access, "/v1/companies").Status)
	require.Equal(t, http.StatusOK, i.call(second.Access, "/v1/companies").Status)
	require.Equal(t, 1, i.Counters().Refreshes)
	require.Zero(t, i.Counters().Replays)
}

func TestAThousandRefreshesInARowKeepAnAuthorisation(t *testing.T) {
	i := start(t)
	a := i.connect("")
	for range 1000 {
		a = i.token(refresh(a.Refresh))
		require.Equal(t, http.StatusOK, a.Status)
	}
	require.Equal(t, 1000, i.Counters().Refreshes)
	require.Equal(t, 1001, i.Authorisations(pleotest.Target{})[0].Generation)
}

func TestAReplayKillsTheWholeAuthorisationAndNoOther(t *testing.T) {
	i := start(t)
	bystander := i.connect("")
	first := i.connect("")
	second := i.token(refresh(first.Refresh))
	replay := i.token(refresh(first.Refresh))
	require.Equal(t, http.StatusBadRequest, replay.Status)
	require.Equal(t, "invalid_grant", replay.error())
	require.False(t, i.alive(second.Access))
	require.False(t, i.alive(second.Refresh))
	require.True(t, i.alive(bystander.Refresh))
	counters := i.Counters()
	require.Equal(t, 1, counters.Replays)
	require.Zero(t, counters.DeadRefreshes)
	require.Equal(t, 2, counters.RefreshRequests)
	require.Equal(t, 1, counters.Refreshes)

	require.Equal(t, "invalid_grant", i.token(refresh(second.Refresh)).error())
	require.Equal(t, 1, i.Counters().Replays, "it was killed, not spent")
	require.Equal(t, 1, i.Counters().DeadRefreshes)
}

func TestOfManyRefreshesAtOnceOneSucceedsAndTheRestAreReplays(t *testing.T) {
	i := start(t)
	a := i.connect("")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() { _, _ = i.tryToken(refresh(a.Refresh)) })
	}
	wait.Wait()
	require.Equal(t, 1, i.Counters().Refreshes)
	require.Equal(t, 7, i.Counters().Replays)
}

func TestADeadRefreshTokenThatWasNotSpentIsNoReplay(t *testing.T) {
	i := start(t)
	a := i.connect("")
	require.Equal(t, 1, i.Revoke(pleotest.Target{Kind: pleotest.RefreshToken}))
	require.Equal(t, "invalid_grant", i.token(refresh(a.Refresh)).error())
	require.Equal(t, 1, i.Counters().DeadRefreshes)
	require.Zero(t, i.Counters().Replays)
	require.True(t, i.alive(a.Access))
}

func TestUsingADeadRefreshTokenKillsTheLiveOnesOfItsAuthorisation(t *testing.T) {
	i := start(t, pleotest.WithSecondConsentReplacing())
	first := i.connect("")
	second := i.connect("")
	require.Equal(t, "invalid_grant", i.token(refresh(first.Refresh)).error())
	require.False(t, i.alive(second.Refresh))
	require.True(t, i.alive(second.Access))
	require.Equal(t, 1, i.Counters().DeadRefreshes)
}

func TestTokensExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		time.Sleep(15*time.Minute - time.Second)
		require.True(t, i.alive(a.Access))
		time.Sleep(time.Second)
		require.False(t, i.alive(a.Access))
		time.Sleep(60*24*time.Hour - 15*time.Minute - time.Second)
		require.True(t, i.alive(a.Refresh))
		time.Sleep(time.Second)
		require.False(t, i.alive(a.Refresh))
		require.Equal(t, "invalid_grant", i.token(refresh(a.Refresh)).error())
		require.Equal(t, 1, i.Counters().DeadRefreshes)
	})
}

func TestTheLifeOfAccessTokensCanBeSet(t *testing.T) {
	i := start(t, pleotest.WithAccessTokenLife(time.Minute))
	a := i.connect("")
	require.Equal(t, 60, number(t, a.Body["expires_in"]))
	i.SetAccessTokenLife(0)
	a = i.token(refresh(a.Refresh))
	require.Equal(t, 0, number(t, a.Body["expires_in"]))
	require.False(t, i.alive(a.Access))
}

func TestASecondConsentIsIndependentUnlessItIsTheSameAuthorisation(t *testing.T) {
	t.Run("independent", func(t *testing.T) {
		i := start(t)
		first := i.connect("")
		i.connect("")
		require.True(t, i.alive(first.Refresh))
		require.Len(t, i.Authorisations(pleotest.Target{}), 2)
	})
	t.Run("replacing", func(t *testing.T) {
		i := start(t, pleotest.WithSecondConsentReplacing())
		companies := pleotest.Companies()
		first, elsewhere := i.connect(""), i.connect(companies[1].ID)
		second := i.connect("")
		require.False(t, i.alive(first.Access))
		require.False(t, i.alive(first.Refresh))
		require.True(t, i.alive(second.Refresh))
		require.True(t, i.alive(elsewhere.Refresh))
		require.Len(t, i.Authorisations(pleotest.Target{}), 2)
	})
}

// Two connections that one company consented to, each with a pair of its own.
func TestTwoConnectionsOfACompanyHarmEachOtherOnlyAsOneAuthorisation(t *testing.T) {
	t.Run("independent", func(t *testing.T) {
		i := start(t)
		first, second := i.connect(""), i.connect("")
		spent := first.Refresh
		first = i.token(refresh(first.Refresh))
		require.True(t, i.alive(second.Access))
		second = i.token(refresh(second.Refresh))
		require.True(t, i.alive(first.Access))
		require.Equal(t, "invalid_grant", i.token(refresh(spent)).error())
		require.False(t, i.alive(first.Refresh))
		require.True(t, i.alive(second.Refresh))
		require.True(t, i.alive(second.Access))
	})
	t.Run("one authorisation, and the token that the second consent killed", func(t *testing.T) {
		i := start(t)
		i.SetSecondConsentReplacing(true)
		first, second := i.connect(""), i.connect("")
		require.Equal(t, http.StatusUnauthorized, i.call(first.Access, "/v1/companies").Status)
		second = i.token(refresh(second.Refresh))
		require.Equal(t, http.StatusOK, second.Status)
		require.Equal(t, "invalid_grant", i.token(refresh(first.Refresh)).error())
		require.False(t, i.alive(second.Refresh))
		require.Equal(t, "invalid_grant", i.token(refresh(second.Refresh)).error())
		require.Equal(t, 2, i.Counters().DeadRefreshes, "the replaced one, and the one that it killed")
		require.Zero(t, i.Counters().Replays)
	})
	t.Run("one authorisation, and a token spent before the second consent", func(t *testing.T) {
		i := start(t, pleotest.WithSecondConsentReplacing())
		first := i.connect("")
		i.token(refresh(first.Refresh))
		second := i.connect("")
		require.Equal(t, "invalid_grant", i.token(refresh(first.Refresh)).error())
		require.False(t, i.alive(second.Refresh))
		require.False(t, i.alive(second.Access))
		require.Equal(t, 1, i.Counters().Replays)
		require.Zero(t, i.Counters().DeadRefreshes)
	})
	t.Run("chosen by another process", func(t *testing.T) {
		i := start(t)
		older, first := i.connect(""), i.connect("")
		require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/second-consent", `{"replacing":true}`).Status)
		second := i.connect("")
		require.True(t, i.alive(older.Refresh), "it was independent when it was given")
		require.False(t, i.alive(first.Refresh))
		require.Equal(t, http.StatusOK, i.control(http.MethodPost, "/second-consent", `{"replacing":false}`).Status)
		i.connect("")
		require.True(t, i.alive(second.Refresh))
		require.Len(t, i.Authorisations(pleotest.Target{}), 3)
	})
}

func TestLivesOfCodesAndRefreshTokensCanBeSet(t *testing.T) {
	i := start(t, pleotest.WithCodeLife(0))
	require.Equal(t, "invalid_grant", i.token(exchange(i.code(""))).error())
	i = start(t, pleotest.WithRefreshTokenLife(0))
	require.Equal(t, "invalid_grant", i.token(refresh(i.connect("").Refresh)).error())
}

func TestAnAuthorisationRemembersItsLatestTokensOnly(t *testing.T) {
	i := start(t, pleotest.WithSecondConsentReplacing())
	first, err := i.Issue("", "", "")
	require.NoError(t, err)
	var latest pleotest.Authorisation
	for range 5_000 {
		latest, err = i.Issue("", "", "")
		require.NoError(t, err)
	}
	require.Equal(t, "invalid_grant", i.token(refresh(first.RefreshToken)).error())
	require.Zero(t, i.Counters().DeadRefreshes, "forgotten")
	require.True(t, i.alive(latest.RefreshToken))
}
