package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const (
	shutdownGrace = 2 * time.Second
	// shutdownLimit is twice the life of a mark with refresh_timeout 1s: the longest
	// that a process waits for refreshes after the grace period.
	shutdownLimit = 12 * time.Second
)

func TestAProcessThatEndsLosesNoRefreshWhateverCallsStreamsAndWebhooksDo(t *testing.T) {
	t.Parallel()
	awaitLog := func(t *testing.T, p *proxy, text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), text) }, patience, tick)
	}
	for name, way := range map[string]struct {
		connections int
		end         func(*testing.T, *proxy)
	}{
		"SIGTERM": {60, func(_ *testing.T, p *proxy) { p.signal(syscall.SIGTERM) }},
		"SIGINT":  {12, func(_ *testing.T, p *proxy) { p.signal(syscall.SIGINT) }},
		"POST /stop on the admin endpoint": {12, func(t *testing.T, p *proxy) {
			t.Helper()
			req := request(t, http.MethodPost, "http://127.0.0.1/stop", "")
			go func() { _ = send(p.adminClient(), req) }()
		}},
		"SIGTERM, SIGTERM again, and SIGINT": {12, func(t *testing.T, p *proxy) {
			t.Helper()
			p.signal(syscall.SIGTERM)
			awaitLog(t, p, "servers shutting down")
			p.signal(syscall.SIGTERM)
			p.signal(syscall.SIGINT)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endWithRefreshesUnderWay(t, way.connections, way.end)
		})
	}
}

// endWithRefreshesUnderWay ends a proxy while many connections are being refreshed
// slowly, one call hangs, a stream and a WebSocket are open, and the receiver of
// webhooks answers nothing. Then it has another proxy use all connections.
func endWithRefreshesUnderWay(t *testing.T, connections int, end func(*testing.T, *proxy)) {
	t.Helper()
	e, w := startPleo(t), receiveWebhooks(t)
	t.Cleanup(w.holding())
	c := onRedis(redistest.Start(t))
	c.grace = shutdownGrace.String()
	c.options = fmt.Sprintf("refresh_timeout 1s\nnotify %s {\nsecret {env.WEBHOOK_SECRET}\n}", w.URL)
	c.env = []string{"WEBHOOK_SECRET=" + webhookSecret}
	p := startProxy(t, e, c)
	names := make([]string, connections)
	for i := range names {
		names[i] = fmt.Sprintf("customer-%02d", i)
		e.authorise(t, p, names[i], company(0))
	}
	w.await(t, 1)
	for _, name := range []string{"hanging", "streaming", "talking"} {
		e.authorise(t, p, name, company(1))
	}
	hangAndStream(t, e, p)

	// From now on tokens live for so long that, whenever the process ends after the
	// first round, some connection comes due at any moment of the next seconds.
	e.SetAccessTokenLife(2 * round)
	slow := e.slowRefresh(800 * time.Millisecond)
	require.NotZero(t, e.Expire(pleotest.Target{Company: company(0).Name, Kind: pleotest.AccessToken}))
	stop := useAll(t, p, names)
	defer stop()
	underWay := func() int {
		counters := e.Counters()
		return counters.RefreshRequests - counters.Refreshes
	}
	require.Eventually(t, func() bool { return e.Counters().Refreshes >= connections && underWay() > 0 }, settling, tick)

	began := time.Now()
	end(t, p)
	p.awaitExit(t)
	require.Less(t, time.Since(began), shutdownGrace+shutdownLimit)
	stop()
	require.Zero(t, underWay(), "the process has waited for their answers")

	slow.Remove()
	e.SetAccessTokenLife(15 * time.Minute)
	c.redirect = p.redirectURI()
	second := startProxy(t, e, c)
	list := second.admin(t, http.MethodGet, "/pleo/connections", "", nil)
	require.Equal(t, http.StatusOK, list.status, "%s", list.body)
	var page struct{ Connections []pleoauth.ConnectionInfo }
	list.decode(t, &page)
	require.Len(t, page.Connections, connections+3)
	for _, info := range page.Connections {
		require.Equal(t, pleoauth.StateConnected, info.State, info.Name)
		require.False(t, info.Unsettled, "%s: the answer to its last refresh is stored", info.Name)
	}
	for _, name := range names {
		require.False(t, fateAt(t, second, name).lost, name)
	}
}

// hangAndStream has the API never answer one call, and opens a stream and a
// WebSocket that stay open.
func hangAndStream(t *testing.T, e *pleo, p *proxy) {
	t.Helper()
	hang := e.Fault(pleotest.Fault{Endpoint: pleotest.API, Path: "/v1/companies", Hold: pleotest.BeforeProcessing})
	t.Cleanup(hang.Release)
	call := request(t, http.MethodGet, p.URL+"/v1/companies", "", on("hanging"))
	go func() { _ = send(client, call) }()
	await(t, hang)
	stream, err := client.Transport.RoundTrip(request(t, http.MethodGet, p.URL+"/v1/export-stream?rows=1000000&interval=100ms", "", on("streaming")))
	require.NoError(t, err)
	t.Cleanup(func() { _ = stream.Body.Close() })
	require.Equal(t, http.StatusOK, stream.StatusCode)
	openSocket(t, strings.TrimPrefix(p.URL, "http://"), "talking")
}

// round is how long it takes until all connections have been called once.
const round = 8 * time.Second

// useAll makes the first call for each connection within a round, and then one
// about every second, also after a failed one, until the function is called.
func useAll(t *testing.T, p *proxy, names []string) (stop func()) {
	t.Helper()
	enough := make(chan struct{})
	var callers sync.WaitGroup
	for i, name := range names {
		callers.Go(func() {
			next := time.NewTimer(time.Duration(i) * round / time.Duration(len(names)))
			defer next.Stop()
			for {
				select {
				case <-enough:
					return
				case <-next.C:
				}
				_ = send(client, request(t, http.MethodGet, p.URL+"/v2/employees", "", on(name)))
				next.Reset(time.Second)
			}
		})
	}
	return sync.OnceFunc(func() {
		close(enough)
		callers.Wait()
	})
}

func TestARefreshThatAnEarlierConfigurationHasBegunIsStoredBeforeTheProcessEnds(t *testing.T) {
	t.Parallel()
	e, p, hold, answers := refreshUnderWay(t, pleotest.AfterProcessing)
	before := p.config
	after := before
	after.store += " {\nkey_prefix another\n}" // which is another source
	after.grace = "1s"
	require.Equal(t, http.StatusOK, p.load(t, after).status)

	p.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return strings.Contains(p.stderr.String(), "waiting for previous server shutdowns") }, patience, tick)
	hold.Release()
	p.awaitExit(t)
	<-answers // perhaps errors: the grace period was over

	p.restart(t)
	p.employees(t)
	require.Equal(t, 1, e.Counters().RefreshRequests)
}
