package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// link has the command line make a one-time link.
func (p *proxy) link(t *testing.T, args ...string) string {
	t.Helper()
	s := p.command(t, append([]string{"authorise-url"}, args...)...)
	require.Zero(t, s.code, s.errors)
	require.Contains(t, s.errors, "15m0s")
	link := strings.TrimSpace(s.out)
	require.True(t, strings.HasPrefix(link, p.origin()+"/pleo/authorise?"), link)
	return link
}

func (e *pleo) follow(t *testing.T, b *browser, link string) string {
	t.Helper()
	start := b.open(t, link)
	require.Equal(t, http.StatusFound, start.status, "%s", start.body)
	back, err := e.Approve(start.header.Get("Location"), company(0).Name)
	require.NoError(t, err)
	return back
}

func TestAOneTimeLinkConnectsOnceOnEitherStore(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t, redistest.WithAppendOnly())
	for name, c := range map[string]config{"redis": onRedis(r), "caddy": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t)
			c.options = "require_ticket"
			p := startProxy(t, e, c)
			require.Equal(t, http.StatusForbidden, newBrowser(t).open(t, p.origin()+"/pleo/authorise").status)

			link := p.link(t, "acme", "--return-to", "/settings")
			ticket := query(t, link, "ticket")
			// Previews, a second click, and somebody who has seen the link.
			do(t, client, request(t, http.MethodHead, link, ""))
			require.Equal(t, http.StatusFound, newBrowser(t).open(t, link).status)
			b, attacker := newBrowser(t), newBrowser(t)
			require.Equal(t, http.StatusFound, b.open(t, link).status)
			late := e.follow(t, attacker, link)
			require.Equal(t, http.StatusForbidden, b.open(t, strings.Replace(link, "connection=acme", "connection=umbrella", 1)).status)
			done := b.open(t, e.follow(t, b, link))
			require.Equal(t, "/settings?pleo=connected", done.header.Get("Location"))

			require.Equal(t, http.StatusForbidden, attacker.open(t, late).status)
			require.Equal(t, http.StatusForbidden, newBrowser(t).open(t, link).status)
			require.Equal(t, 1, e.Counters().ExchangeRequests)
			p.employees(t, on("acme"))

			texts := map[string]string{"logs": p.stdout.String() + p.stderr.String(), "Redis": r.Dump(t)}
			for _, dir := range []string{p.dir, filepath.Join(r.Dir(), "appendonlydir")} {
				for _, file := range filesUnder(t, dir) {
					if !strings.HasSuffix(file, ".sock") {
						texts[file] = readFile(t, file)
					}
				}
			}
			require.Empty(t, find(texts, append(e.Secrets(), ticket)))
		})
	}
}

func query(t *testing.T, link, name string) string {
	t.Helper()
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get(name), link)
	return u.Query().Get(name)
}

func TestAOneTimeLinkOfOneReplicaIsTakenByAnotherAndOnlyOnce(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.options = "require_ticket"
	a := startProxy(t, e, c)
	c.redirect = a.redirectURI()
	b := startProxy(t, e, c)
	link := a.link(t, "acme")
	there := strings.Replace(link, a.origin(), b.origin(), 1)
	// One browser, whose cookies hold for both: two flows of one link, which are
	// completed at the same instant on two replicas.
	browser := newBrowser(t)
	backs := []string{e.follow(t, browser, link), strings.Replace(e.follow(t, browser, there), a.origin(), b.origin(), 1)}
	statuses := map[int]int{}
	for _, answer := range herd(2, func(i int) answer { return send(browser.Client, request(t, http.MethodGet, backs[i], "")) }) {
		require.NoError(t, answer.err)
		statuses[answer.status]++
	}
	require.Equal(t, map[int]int{http.StatusOK: 1, http.StatusForbidden: 1}, statuses)
	require.Equal(t, 1, e.Counters().ExchangeRequests)
	require.Equal(t, http.StatusForbidden, newBrowser(t).open(t, there).status)

	// What is never used leaves Redis by itself.
	a.link(t, "umbrella")
	keys, err := r.Client(t).Keys(t.Context(), "*:flow:*").Result()
	require.NoError(t, err)
	require.NotEmpty(t, keys)
	for _, key := range keys {
		left, err := r.Client(t).PTTL(t.Context(), key).Result()
		require.NoError(t, err)
		require.Positive(t, left, key)
		require.LessOrEqual(t, left, 25*time.Minute, key)
	}
}

// guarded has starting behind Caddy's own guards, as docs/api.md shows them.
const guarded = `
http://localhost:{port+1} {
	bind 127.0.0.1
	log
	log_skip /pleo/authorise
	basic_auth /pleo/authorise {
		admin %s
	}
	pleo_authorise /pleo/authorise
	pleo_callback /pleo/callback
}
http://localhost:{port+2} {
	bind 127.0.0.1
	log
	log_skip /pleo/authorise
	forward_auth /pleo/authorise %s {
		uri /may-connect?connection={query.connection}
		header_up X-Forwarded-Uri /pleo/authorise
	}
	pleo_authorise /pleo/authorise
	pleo_callback /pleo/callback
}
`

func TestStartingCanBePutBehindCaddysOwnGuards(t *testing.T) {
	t.Parallel()
	// An application that lets one session connect one customer.
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		session, err := r.Cookie("session")
		if r.URL.Path != "/may-connect" || err != nil || session.Value != "of-acme" || !slices.Equal(r.URL.Query()["connection"], []string{"acme"}) {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer app.Close()
	e := startPleo(t)
	p := startProxy(t, e, config{sites: fmt.Sprintf(guarded, `$2a$04$HSv5Z.pK3HEa5B4tfETR2Oe.qnI7OLrEaOfH1H1NHi.1nZ0aC4BIq`, app.Listener.Addr())})
	site := func(n int) string { return fmt.Sprintf("http://localhost:%d", p.port+n) }
	through := func(n int, link string, options ...option) answer {
		link = strings.Replace(link, p.origin(), site(n), 1)
		return do(t, newBrowser(t).Client, request(t, http.MethodGet, link, "", options...))
	}

	link := p.link(t, "acme")
	require.Equal(t, http.StatusUnauthorized, through(1, link).status)
	require.Equal(t, http.StatusUnauthorized, through(1, link, withBasicAuth("admin", "wrong")).status)
	require.Equal(t, http.StatusFound, through(1, link, withBasicAuth("admin", "let-me-in")).status)

	session := withHeader("Cookie", "session=of-acme")
	require.Equal(t, http.StatusUnauthorized, through(2, link).status)
	require.Equal(t, http.StatusFound, through(2, link, session).status)
	require.Equal(t, http.StatusUnauthorized, through(2, p.link(t, "umbrella"), session).status)
	require.Equal(t, http.StatusUnauthorized, through(2, p.origin()+"/pleo/authorise?connection=umbrella", session).status)
	require.Equal(t, http.StatusUnauthorized, through(2, p.origin()+"/pleo/authorise?connection=umbrella&connection=acme", session).status)
	require.NotEqual(t, http.StatusFound, through(2, p.origin()+"/pleo/authorise?connection=umbrella%26connection=acme", session).status)
	require.Equal(t, http.StatusFound, through(2, p.origin()+"/pleo/authorise?connection=acme", session).status)
	others := strings.Replace(p.link(t, "umbrella"), "connection=umbrella", "connection=acme", 1)
	require.Equal(t, http.StatusForbidden, through(2, others, session).status, "a link of another customer's under one's own name")

	// Behind the guard it goes on as ever, and the callback has none.
	b := newBrowser(t)
	start := do(t, b.Client, request(t, http.MethodGet, strings.Replace(link, p.origin(), site(1), 1), "", withBasicAuth("admin", "let-me-in")))
	back, err := e.Approve(start.header.Get("Location"), company(0).Name)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, b.open(t, strings.Replace(back, p.origin(), site(1), 1)).status)

	// What basic_auth refuses, Caddy logs as an error at debug level, and nobody
	// else logs an address with a ticket.
	var logs strings.Builder
	for line := range strings.Lines(p.stdout.String() + p.stderr.String()) {
		if !strings.Contains(line, `"level":"debug"`) || !strings.Contains(line, `"logger":"http.log.error"`) {
			logs.WriteString(line)
		}
	}
	require.Contains(t, logs.String(), `"uri":"/may-connect?connection=acme"`)
	require.Empty(t, find(map[string]string{"logs": logs.String()}, []string{query(t, link, "ticket")}))
}

func withBasicAuth(user, password string) option {
	return func(r *http.Request) { r.SetBasicAuth(user, password) }
}

func TestAProgramOnThisMachineUsesPleoAPIAndAPageOfAnotherSiteDoesNot(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{site: "pleo_api"})
	e.authorise(t, p, "default", company(0))

	code, out := runProgram(t, p.env, nil, need(t, "node"), "-e", `
		const made = await fetch(process.argv[1] + "/pleo/connections/new/authorise-url", {method: "POST", body: JSON.stringify({return_to: "/x"})});
		const {connections} = await (await fetch(process.argv[1] + "/pleo/connections")).json();
		console.log(made.status, (await made.json()).url.includes("ticket="), connections[0].name, connections[0].state);
	`, "--input-type=module", p.URL)
	require.Zero(t, code, out)
	require.Equal(t, "200 true default connected", strings.TrimSpace(out))

	for reason, attack := range map[string]option{
		"origin": withHeader("Origin", "https://evil.example"),
		"host":   withHost(fmt.Sprintf("evil.example:%d", p.port)), // DNS rebinding
	} {
		for _, c := range [][2]string{{"GET", ""}, {"DELETE", "/default"}, {"POST", "/default/refresh"}, {"POST", "/default/authorise-url"}} {
			refused := do(t, client, request(t, c[0], p.URL+"/pleo/connections"+c[1], "", attack))
			require.Equal(t, reason, requireProblem(t, refused, http.StatusForbidden, "client-not-allowed").Reason)
		}
	}
	p.employees(t)
	require.Zero(t, e.Counters().Refreshes)
}
