package test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// onBothStores runs an attack against a proxy on each of the two stores.
func onBothStores(t *testing.T, attack func(*testing.T, config)) {
	t.Parallel()
	t.Run("caddy", func(t *testing.T) { t.Parallel(); attack(t, config{}) })
	t.Run("redis", func(t *testing.T) { t.Parallel(); attack(t, onRedis(redistest.Start(t))) })
}

// sentTo reads the parameters that a browser is sent to Pleo with.
func sentTo(t *testing.T, start answer) url.Values {
	t.Helper()
	require.Equal(t, http.StatusFound, start.status, "%s", start.body)
	to, err := url.Parse(start.header.Get("Location"))
	require.NoError(t, err)
	return to.Query()
}

// flowCookie is the one cookie that the start of an authorisation sets.
func flowCookie(t *testing.T, start answer) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: start.header}).Cookies()
	require.Len(t, cookies, 1)
	return cookies[0]
}

func TestNoStateChallengeOrCookieIsEverTheSameAndEachHas256Bits(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startPleo(t), config{})
	seen := map[string]bool{}
	const starts = 50
	for range starts {
		start := newBrowser(t).open(t, p.origin()+"/pleo/authorise?connection=acme")
		q, cookie := sentTo(t, start), flowCookie(t, start)
		require.Equal(t, "S256", q.Get("code_challenge_method"))
		for _, value := range []string{q.Get("state"), q.Get("code_challenge"), cookie.Value} {
			bits, err := base64.RawURLEncoding.DecodeString(value)
			require.NoError(t, err)
			require.Len(t, bits, 256/8)
			seen[value] = true
		}
		require.NotContains(t, cookie.Name, q.Get("state"))
	}
	require.Len(t, seen, 3*starts)
}

func TestAFlowLastsTenMinutesInTheStoreAndInTheBrowser(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	p := startProxy(t, startPleo(t), onRedis(r))
	require.Equal(t, 600, flowCookie(t, newBrowser(t).open(t, p.origin()+"/pleo/authorise")).MaxAge)
	keys, err := r.Client(t).Keys(t.Context(), "*:flow:*").Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	life, err := r.Client(t).PTTL(t.Context(), keys[0]).Result()
	require.NoError(t, err)
	require.LessOrEqual(t, life, 10*time.Minute)
	require.Greater(t, life, 9*time.Minute)
}

func TestOfManyCallbacksWithOneStateOneIsExchanged(t *testing.T) {
	onBothStores(t, func(t *testing.T, c config) {
		e := startPleo(t)
		p := startProxy(t, e, c)
		b := newBrowser(t)
		back := e.approve(t, b, p.origin(), "default", company(0))
		done := map[int]int{}
		for _, a := range herd(20, func(int) answer { return send(b.Client, request(t, http.MethodGet, back, "")) }) {
			require.NoError(t, a.err)
			done[a.status]++
		}
		require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusBadRequest: 19}, done)
		require.Equal(t, 1, e.Counters().ExchangeRequests)
		p.employees(t)
	})
}

// The attacker gets a victim's callback URL, or has the victim open the
// attacker's own, and plants what cookies there are to be had.
func TestWithoutTheCookieOfItsFlowNoBrowserCompletesIt(t *testing.T) {
	onBothStores(t, func(t *testing.T, c config) {
		e := startPleo(t)
		p := startProxy(t, e, c)
		victim := newBrowser(t)
		start := victim.open(t, p.origin()+"/pleo/authorise?connection=acme")
		mine := flowCookie(t, newBrowser(t).open(t, p.origin()+"/pleo/authorise?connection=acme"))
		theirs := flowCookie(t, start)
		back, err := e.Approve(start.header.Get("Location"), company(0).Name)
		require.NoError(t, err)
		q, err := url.Parse(back)
		require.NoError(t, err)
		for name, cookies := range map[string]string{
			"no cookie":                   "",
			"the attacker's own":          mine.Name + "=" + mine.Value,
			"the attacker's value":        theirs.Name + "=" + mine.Value,
			"an empty value":              theirs.Name + "=",
			"the value of another name":   mine.Name + "=" + theirs.Value,
			"one planted before it":       theirs.Name + "=" + mine.Value + "; " + theirs.Name + "=" + theirs.Value,
			"one planted behind it":       theirs.Name + "=" + theirs.Value + "; " + theirs.Name + "=" + mine.Value,
			"a part of the value":         theirs.Name + "=" + theirs.Value[:42],
			"more than the value":         theirs.Name + "=" + theirs.Value + "A",
			"the state":                   theirs.Name + "=" + q.Query().Get("state"),
			"the name of a secure cookie": "__Host-" + theirs.Name + "=" + theirs.Value,
		} {
			a := get(t, back, withHeader("Cookie", cookies))
			require.Equal(t, http.StatusForbidden, a.status, name)
			require.NotContains(t, string(a.body), "acme", name)
		}
		require.Zero(t, e.Counters().ExchangeRequests)
		require.Equal(t, http.StatusOK, victim.open(t, back).status, "and none of it spends the flow")
	})
}

func TestACallbackOfAnotherAuthorisationServerIsRefused(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithIssuerParameter())
	p := startProxy(t, e, config{})
	for _, issuer := range []string{"https://evil.example", e.AuthURL + ".evil.example", e.AuthURL + "/x", strings.ToUpper(e.AuthURL)} {
		b := newBrowser(t)
		back := e.approve(t, b, p.origin(), "default", company(0))
		other := strings.Replace(back, "iss="+url.QueryEscape(e.AuthURL), "iss="+url.QueryEscape(issuer), 1)
		require.NotEqual(t, back, other)
		require.Equal(t, http.StatusBadRequest, b.open(t, other).status, issuer)
	}
	require.Zero(t, e.Counters().ExchangeRequests)
	e.authorise(t, p, "default", company(0)) // with the issuer that it is
}

func TestNoSpellingOfAnotherSiteIsReturnedTo(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startPleo(t), config{options: "return_to_origins https://app.example.com"})
	for _, elsewhere := range []string{
		"//evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/\n/evil.example", "///evil.example", "/%2f%2fevil.example",
		"/%2Fevil.example", "/%5cevil.example", "/%09/evil.example", "/.//evil.example", "/..//evil.example", "/%2e%2e//evil.example",
		"/a/..//evil.example", "/a/%2e%2E//evil.example", "javascript:alert(1)", "JAVASCRIPT:alert(1)", " javascript:alert(1)", "java\nscript:alert(1)",
		"data:text/html,x", "vbscript:x", "https:evil.example", "https:/evil.example", "https://app.example.com@evil.example/",
		"https://app.example.com.evil.example/", `https://app.example.com\@evil.example/`, "https://app.example.com:444/", "http://app.example.com/",
		"https://аpp.example.com/", "/a\r\nSet-Cookie: x=y", "/%0d%0aSet-Cookie:x=y", "evil.example", "?x", "",
	} {
		a := newBrowser(t).open(t, p.origin()+"/pleo/authorise?return_to="+url.QueryEscape(elsewhere))
		if elsewhere == "" { // is no target, and sends nowhere
			require.Equal(t, http.StatusFound, a.status)
			continue
		}
		require.Equal(t, http.StatusBadRequest, a.status, "%q", elsewhere)
		require.Empty(t, a.header.Get("Location"))
		require.NotContains(t, string(a.body), "evil")
		require.NotContains(t, string(a.body), "alert")
	}
}

func TestEveryAnswerToABrowserIsKeptOutOfCachesReferrersAndFrames(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	b := newBrowser(t)
	back := e.approve(t, b, p.origin(), "acme", company(0))
	denied, err := e.Deny(b.open(t, p.origin()+"/pleo/authorise").header.Get("Location"))
	require.NoError(t, err)
	for name, a := range map[string]answer{
		"start":         b.open(t, p.origin()+"/pleo/authorise"),
		"broken link":   b.open(t, p.origin()+"/pleo/authorise?connection=a/b"),
		"HEAD":          do(t, b.Client, request(t, http.MethodHead, back, "")),
		"POST":          do(t, b.Client, request(t, http.MethodPost, back, "x")),
		"other browser": newBrowser(t).open(t, back),
		"twice":         b.open(t, back+"&state=x"),
		"denied":        b.open(t, denied),
		"connected":     b.open(t, back),
		"used":          b.open(t, back),
	} {
		h := a.header
		require.Equal(t, "no-store", h.Get("Cache-Control"), name)
		require.Equal(t, "no-referrer", h.Get("Referrer-Policy"), name)
		require.Equal(t, "DENY", h.Get("X-Frame-Options"), name)
		require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), name)
		policy := strings.Split(h.Get("Content-Security-Policy"), "; ")
		for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
			require.Contains(t, policy, part, name)
		}
		require.NotContains(t, h.Get("Content-Security-Policy"), "unsafe", name)
		require.NotContains(t, string(a.body), "<script", name)
	}
	require.NotContains(t, p.stderr.String(), "/pleo/callback?", "a callback's URL is never logged")
	require.Contains(t, p.stderr.String(), "an authorisation was not completed")
}

func TestWhereTLSEndsInFrontTheCookieIsBoundToTheHostAllTheSame(t *testing.T) {
	t.Parallel()
	p := startProxy(t, startPleo(t), config{redirect: "https://integration.example.com/pleo/callback"})
	c := flowCookie(t, newBrowser(t).open(t, p.origin()+"/pleo/authorise"))
	require.True(t, strings.HasPrefix(c.Name, "__Host-"), c.Name)
	require.True(t, c.Secure && c.HttpOnly)
	require.Equal(t, http.SameSiteLaxMode, c.SameSite)
	require.Equal(t, []string{"/", ""}, []string{c.Path, c.Domain})
}

// A subject that was asked for must be the one that comes back, and a company
// that cannot be asked for is not taken for any.
func TestNoOtherCompanyThanWasAskedForOrWasThereBeforeIsStored(t *testing.T) {
	onBothStores(t, func(t *testing.T, c config) {
		e := startPleo(t)
		p := startProxy(t, e, c)
		b := newBrowser(t)
		begin := func(query string) string {
			return b.open(t, p.origin()+"/pleo/authorise?"+query).header.Get("Location")
		}
		complete := func(to, company string) answer {
			back, err := e.Approve(to, company)
			require.NoError(t, err)
			return b.open(t, back)
		}
		asked := "subject=" + url.QueryEscape(company(1).URN())

		// The attacker takes the subject out of the address on the way to Pleo.
		to, err := url.Parse(begin("connection=fresh&" + asked))
		require.NoError(t, err)
		q := to.Query()
		require.Equal(t, company(1).URN(), q.Get("urn_pleo_params_oauth_subject"))
		q.Del("urn_pleo_params_oauth_subject")
		to.RawQuery = q.Encode()
		require.Equal(t, http.StatusConflict, complete(to.String(), company(0).Name).status)
		requireProblem(t, get(t, p.URL+"/v2/employees", on("fresh")), http.StatusUnauthorized, "not-connected")

		require.Equal(t, http.StatusOK, complete(begin("connection=acme&"+asked), company(1).Name).status)
		stored := func() (info pleoauth.ConnectionInfo) {
			p.admin(t, http.MethodGet, "/pleo/connections/acme", "", nil).decode(t, &info)
			info.Unsettled = false // what a code that was spent may have done to the grant has to be asked
			return info
		}
		before := stored()
		require.Equal(t, company(1).URN(), before.Subject)
		require.Equal(t, http.StatusConflict, complete(begin("connection=acme"), company(0).Name).status)

		// Nor if Pleo does not say whose it is: then it is nobody's.
		for _, endpoint := range []pleotest.Endpoint{pleotest.Introspect, pleotest.API} {
			e.Fault(pleotest.Fault{Endpoint: endpoint, Status: http.StatusInternalServerError, Times: 3, Match: func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/introspect")
			}})
		}
		require.Equal(t, http.StatusBadGateway, complete(begin("connection=acme"), company(0).Name).status)
		require.Equal(t, before, stored(), "nothing is overwritten")
		require.Equal(t, company(1).ID, get(t, p.URL+"/v1/echo", on("acme")).companyID(t))

		c = p.config
		c.options = "allow_subject_change"
		require.Equal(t, http.StatusOK, p.load(t, c).status)
		require.Equal(t, http.StatusOK, complete(begin("connection=acme"), company(0).Name).status)
		require.Equal(t, company(0).ID, get(t, p.URL+"/v1/echo", on("acme")).companyID(t))
	})
}
