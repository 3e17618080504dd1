package test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestNoSecretAppearsInLogsStoreAnswersOrSavedConfiguration(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"redis", "caddy"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			c := config{}
			if store == "caddy" {
				c.store = store
			}
			startLife(t, c).live(t)
		})
	}
}

// live takes connections through all that can happen to them, and looks for
// secrets then.
func (l *life) live(t *testing.T) {
	t.Helper()
	l.browse(t)

	// The API: a token that is refused, errors, and no answer.
	l.connect(t, "calls")
	l.e.Revoke(pleotest.Target{Kind: pleotest.AccessToken})
	require.Equal(t, 200, l.call(t, "calls").status)
	for _, f := range []pleotest.Fault{{Status: 500, Body: "{}"}, {Status: 401, Body: "{}"}, {Drop: pleotest.BeforeProcessing}, {Drop: pleotest.MidBody}} {
		f.Endpoint = pleotest.API
		l.e.Fault(f)
		_ = send(client, request(t, http.MethodGet, l.p.URL+"/v2/employees", "", on("calls"))) // maybe cut short
	}
	l.call(t, "a/b")
	l.call(t, "nobody")

	// The token endpoint: everything that can come of a refresh, by servers that
	// repeat in their errors what they were sent.
	l.refresh(t, "refreshed", pleotest.Fault{DelayBefore: time.Millisecond})
	l.refresh(t, "lost", pleotest.Fault{Drop: pleotest.AfterProcessing})
	l.refresh(t, "half-an-answer", pleotest.Fault{Drop: pleotest.MidBody})
	l.refresh(t, "no-answer", pleotest.Fault{Drop: pleotest.BeforeProcessing, Reset: true})
	l.refresh(t, "slow", pleotest.Fault{DelayAfter: 2 * time.Second})
	l.refresh(t, "odd", pleotest.Fault{Set: map[string]any{"expires_in": "soon", "token_type": "mac"}})
	l.connect(t, "talkative")
	spent := l.newest().RefreshToken
	talk := fmt.Sprintf(`{"error":"%%s","error_description":"refresh_token=%s was refused"}`, spent)
	l.refresh(t, "server-error", pleotest.Fault{Status: 500, Body: fmt.Sprintf(talk, "server_error")})
	l.refresh(t, "too-many", pleotest.Fault{Status: 429, Body: fmt.Sprintf(talk, "slow_down")})
	l.refresh(t, "client", pleotest.Fault{Status: 401, Body: fmt.Sprintf(talk, "invalid_client")})
	l.refresh(t, "talkative", pleotest.Fault{Status: 400, Body: fmt.Sprintf(talk, "invalid_grant")})
	l.connect(t, "revoked")
	l.e.Revoke(pleotest.Target{Authorisation: l.newest().ID})
	// It is known once no process has said within a second that it has a newer grant:
	// callers wait no longer than refresh_timeout.
	require.Eventually(t, func() bool {
		a := l.call(t, "revoked")
		require.Contains(t, []int{401, 503}, a.status, "%s", a.body)
		return a.status == 401
	}, patience, tick)
	for _, lost := range []string{"lost", "half-an-answer"} { // Pleo is asked thrice, five seconds apart
		require.Eventually(t, func() bool {
			return strings.Contains(string(l.p.admin(t, http.MethodGet, "/pleo/connections/"+lost, "", nil).body), "lost_response")
		}, patience, tick)
	}

	if l.r != nil {
		l.outage(t)
	}

	// The administrator, a reload with and one without a mistake, and a restart.
	l.see(l.p.admin(t, http.MethodGet, "/pleo/connections", "", nil))
	require.Equal(t, 204, l.see(l.p.admin(t, http.MethodDelete, "/pleo/connections/refreshed", "", nil)).status)
	c := l.p.config
	c.secret = "{env.PLEO_CLIENT_SECRET} {env.PLEO_TEST_NONE}"
	require.Equal(t, 400, l.see(l.p.load(t, c)).status)
	c = l.p.config
	c.sites = anotherSite
	require.Equal(t, 200, l.see(l.p.load(t, c)).status)
	before := l.p.process
	l.p.stop(t, syscall.SIGTERM)
	l.p.restart(t)
	l.call(t, "calls")

	texts := l.texts(t)
	texts["crash"] = l.crash(t)
	texts["logs"] = before.stdout.String() + before.stderr.String() + l.p.stdout.String() + l.p.stderr.String()
	markers := map[string]string{
		"logs": `"level":"debug"`, "/config": "PLEO_CLIENT_SECRET", "answers": "Not authorised",
		"metrics": "pleo_", "health": "ready", "admin": "half-an-answer", "cmdline": "Caddyfile", "crash": "goroutine",
		filepath.Join(l.p.dir, "config/caddy/autosave.json"): "PLEO_CLIENT_SECRET",
	}
	if l.r != nil {
		markers["Redis"] = "half-an-answer"
	}
	for name, marker := range markers {
		require.Contains(t, texts[name], marker, "%s is not what it should be", name)
	}
	require.Contains(t, texts["logs"], "http.log.access")
	require.Greater(t, len(l.secrets()), 100)
	require.Empty(t, find(texts, l.secrets()))
}

// crash has the process end as a panic does, in the middle of a call and of a
// refresh, and returns what it says: the stacks of all goroutines.
func (l *life) crash(t *testing.T) string {
	t.Helper()
	l.connect(t, "crashing")
	said := len(l.p.stderr.String())
	call := l.e.Fault(pleotest.Fault{Endpoint: pleotest.API, Hold: pleotest.BeforeProcessing})
	refresh := l.e.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.BeforeProcessing})
	defer call.Release()
	defer refresh.Release()
	go send(client, request(t, http.MethodGet, l.p.URL+"/v2/employees", "", on("crashing")))
	await(t, call)
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		res, err := l.p.adminClient().Do(request(t, http.MethodPost, "http://127.0.0.1/pleo/connections/calls/refresh", ""))
		if err == nil {
			_ = res.Body.Close()
		}
	}()
	await(t, refresh)
	l.p.stop(t, syscall.SIGABRT)
	<-asked
	return l.p.stderr.String()[said:]
}

// newest is the authorisation that was given last.
func (l *life) newest() pleotest.Authorisation {
	all := l.e.Authorisations(pleotest.Target{})
	return all[len(all)-1]
}

// outage has Redis go away while an answer is awaited: the pair is held, and
// spilled to the disk.
func (l *life) outage(t *testing.T) {
	t.Helper()
	l.connect(t, "held")
	hold := l.e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Hold: pleotest.AfterProcessing})
	done := make(chan answer, 1)
	go func() { done <- send(client, request(t, http.MethodGet, l.p.URL+"/v2/employees", "", on("held"))) }()
	require.Equal(t, 200, (<-done).status)
	go func() { done <- l.p.admin(t, http.MethodPost, "/pleo/connections/held/refresh", "", nil) }()
	await(t, hold)
	l.r.Kill()
	hold.Release()
	held := func() []string {
		files, _ := filepath.Glob(filepath.Join(l.p.dir, "data/caddy/pleo/held/*/*"))
		return files
	}
	require.Eventually(t, func() bool { return len(held()) > 0 }, patience, tick)
	spilled := map[string]string{"spilled pair": readFile(t, held()[0])}
	require.Empty(t, find(spilled, l.secrets()))
	l.call(t, "held")
	l.call(t, "cold")
	l.see(newBrowser(t).open(t, l.p.origin()+"/pleo/authorise"))
	require.NoError(t, l.r.Restart())
	require.Eventually(t, func() bool { return l.p.healthStatus(t) == "ready" }, patience, 5*tick)
	l.see(<-done)
	require.Equal(t, 200, l.call(t, "held").status)
}
