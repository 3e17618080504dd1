package test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// follow opens a callback as a browser does: a page that says that it goes on by
// itself is loaded again when it says.
func (b *browser) follow(t *testing.T, callback string) answer {
	t.Helper()
	for until := time.Now().Add(settling); ; {
		a := b.open(t, callback)
		if a.status != http.StatusAccepted || time.Now().After(until) {
			return a
		}
		seconds, err := strconv.Atoi(a.header.Get("Refresh"))
		require.NoError(t, err, "the page says when it goes on: %v", a.header)
		pass(t, time.Now().Add(time.Duration(seconds)*time.Second))
	}
}

// consentTimes are those of a living grant that consents interfere with: the long
// selection has the proxy's own.
func consentTimes() (options string, life, lasts time.Duration) {
	if *long {
		return "", time.Minute, 130 * time.Second
	}
	return faultTimes, 24 * time.Second, 45 * time.Second
}

// inUse is a proxy with a connection that is called ten times a second, and whose
// refreshes have begun.
func inUse(t *testing.T, options string, life time.Duration, more ...pleotest.Option) (*pleo, *proxy, *load) {
	t.Helper()
	e := startPleo(t, append(more, pleotest.WithAccessTokenLife(life))...)
	c := onRedis(redistest.Start(t))
	c.options = options
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0))
	p.employees(t)
	return e, p, startLoad(t, 10, callReplicas(t, p))
}

func exchangeFault(f pleotest.Fault) pleotest.Fault {
	f.Endpoint, f.GrantType = pleotest.Token, pleotest.AuthorizationCode
	return f
}

func TestFaultOneRudeBrowserStarvesNoLivingGrant(t *testing.T) {
	t.Parallel()
	const row = "a rude browser"
	options, life, lasts := consentTimes()
	var mu sync.Mutex
	var exchanges, calls, failed, refreshes int
	kinds := map[string]func(*testing.T){}
	for name, fault := range map[string]pleotest.Fault{
		"403":                     {Status: http.StatusForbidden},
		"403 with an error":       {Status: http.StatusForbidden, Body: `{"error":"invalid_request"}`},
		"429":                     {Status: http.StatusTooManyRequests},
		"429 with a Retry-After":  {Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"2"}}},
		"500":                     {Status: http.StatusInternalServerError, Body: failurePage},
		"500 after three seconds": {Status: http.StatusInternalServerError, Body: failurePage, DelayBefore: 3 * time.Second},
	} {
		fault.Times = pleotest.Always
		kinds[name] = func(t *testing.T) {
			e, p, l := inUse(t, options, life)
			e.ResetCounters()
			e.Fault(exchangeFault(fault))
			for until := time.Now().Add(lasts); time.Now().Before(until); {
				beRude(t, p)
				pass(t, time.Now().Add(5*tick))
			}
			made := l.end()
			failures := failedCalls(made)
			c := e.Counters()
			mu.Lock()
			exchanges, calls, failed, refreshes = exchanges+c.ExchangeRequests, calls+len(made), failed+len(failures), refreshes+c.Refreshes
			mu.Unlock()
			t.Logf("%s: exchanges: %d, refreshes: %d, failed: %v", name, c.ExchangeRequests, c.Refreshes, outcomes(failures))
			require.Empty(t, outcomes(failures))
			require.GreaterOrEqual(t, c.Refreshes, int(lasts/life), "the living grant is refreshed in time")
			require.Positive(t, c.ExchangeRequests)
		}
	}
	together(t, kinds)
	figure(t, row, "exchanges that it brought about", exchanges)
	figure(t, row, "refreshes meanwhile", refreshes)
	figure(t, row, "calls meanwhile", calls)
	figure(t, row, "failed", failed)
}

// beRude has a browser start an authorisation and come back with a code that Pleo
// never gave. It may be told that there are too many.
func beRude(t *testing.T, p *proxy) {
	t.Helper()
	b := newBrowser(t)
	start := b.open(t, p.origin()+"/pleo/authorise?connection=default")
	if start.status == http.StatusServiceUnavailable {
		pass(t, time.Now().Add(time.Second))
		return
	}
	back := fmt.Sprintf("%s?state=%s&code=garbage", p.redirectURI(), sentTo(t, start).Get("state"))
	require.NotEqual(t, http.StatusOK, b.open(t, back).status)
}

func TestFaultAConsentThatPleoNeverAnswersCostsNoCallAndCanBeGivenAgain(t *testing.T) {
	t.Parallel()
	const row = "a consent that Pleo never answers"
	options, life, lasts := consentTimes()
	for name, stage := range map[string]pleotest.Stage{"not processed": pleotest.BeforeProcessing, "processed": pleotest.AfterProcessing} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e, p, l := inUse(t, options, life)
			mute := e.Fault(exchangeFault(pleotest.Fault{Hold: stage}))
			b := newBrowser(t)
			began := time.Now()
			first := b.follow(t, e.approve(t, b, p.origin(), "default", company(0)))
			told := time.Since(began)
			require.Equal(t, 1, mute.Hits())
			require.NotEqual(t, http.StatusOK, first.status, "%s", first.body)
			again := b.follow(t, e.approve(t, b, p.origin(), "default", company(0)))
			require.Equal(t, http.StatusOK, again.status, "%s", again.body)
			connected := time.Since(began)
			pass(t, began.Add(lasts))
			made := l.end()
			figure(t, row, name+": until the user was told", rounded(told))
			figure(t, row, name+": until the second consent was stored", rounded(connected))
			figure(t, row, name+": calls meanwhile", len(made))
			figure(t, row, name+": failed", len(failedCalls(made)))
			require.Empty(t, outcomes(failedCalls(made)))
			require.Zero(t, e.Counters().DeadRefreshes)
			mute.Remove()
		})
	}
}

func TestFaultASecondConsentWaitsUntilAnAmbiguousFirstOneCanKillItNoMore(t *testing.T) {
	t.Parallel()
	const row = "a second consent after an ambiguous first one"
	var mu sync.Mutex
	var longest time.Duration
	var replays int
	kinds := map[string]func(*testing.T){}
	for name, later := range map[string]time.Duration{"processed 1.5s later": 1500 * time.Millisecond, "processed 4s later": 4 * time.Second} {
		for options, mark := range map[string]time.Duration{faultTimes: 6 * time.Second, "": 15 * time.Second} {
			if options == "" && !*long {
				continue
			}
			kinds[fmt.Sprint(name, ", a mark of ", mark)] = func(t *testing.T) {
				e := startPleo(t, pleotest.WithSecondConsentReplacing())
				c := onRedis(redistest.Start(t))
				c.options = options
				p := startProxy(t, e, c)
				e.Fault(exchangeFault(pleotest.Fault{Status: http.StatusBadGateway, Process: pleotest.ProcessedLater, ProcessAfter: later}))
				b := newBrowser(t)
				require.Equal(t, http.StatusBadGateway, b.follow(t, e.approve(t, b, p.origin(), "default", company(0))).status)

				began := time.Now()
				back := e.approve(t, b, p.origin(), "default", company(0))
				waits := b.open(t, back)
				require.Equal(t, http.StatusAccepted, waits.status, "%s", waits.body)
				require.Contains(t, string(waits.body), " seconds")
				done := b.follow(t, back)
				require.Equal(t, http.StatusOK, done.status, "%s", done.body)
				took := time.Since(began)
				require.Less(t, took, mark+5*time.Second)
				p.employees(t)
				p.refresh(t, "default")
				p.employees(t)
				mu.Lock()
				longest, replays = max(longest, took), replays+e.Counters().Replays
				mu.Unlock()
				require.Equal(t, 2, e.Counters().Exchanges, "the first one was processed, too")
				require.Zero(t, e.Counters().DeadRefreshes)
			}
		}
	}
	together(t, kinds)
	figure(t, row, "times", len(kinds))
	figure(t, row, "longest until it was stored", rounded(longest))
	figure(t, row, "replays", replays)
}

// A person waits for an exchange: Pleo is asked at once, or the user told for how
// long it has asked to wait.
func TestABrowserIsNotKeptWaitingWhilePleoHasAskedForAnHour(t *testing.T) {
	t.Parallel()
	e, p, _ := inUse(t, faultTimes, 6*time.Second)
	e.SetAccessTokenLife(15 * time.Minute)
	asks := e.Fault(pleotest.Fault{
		Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: http.StatusTooManyRequests,
		Header: http.Header{"Retry-After": {"3600"}},
	})
	await(t, asks)
	for _, connection := range []string{"default", "another"} {
		b := newBrowser(t)
		b.Timeout = patience
		back := e.approve(t, b, p.origin(), connection, company(0))
		a := b.follow(t, back)
		require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, a.status, "%s", connection)
		if a.status != http.StatusOK {
			require.NotEmpty(t, a.header.Get("Retry-After"), connection)
		}
	}
}

func TestABrowserIsToldThatTheConnectionWasDisconnectedWhileItsCodeWasExchanged(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(*testing.T, *pleo, *proxy){
		"never connected": func(*testing.T, *pleo, *proxy) {},
		"connected":       func(t *testing.T, e *pleo, p *proxy) { t.Helper(); e.authorise(t, p, "default", company(0)) },
		"disconnected": func(t *testing.T, e *pleo, p *proxy) {
			t.Helper()
			e.authorise(t, p, "default", company(0))
			p.disconnect(t, "default")
		},
	} {
		for _, stage := range stages {
			t.Run(fmt.Sprint(name, ", ", stage), func(t *testing.T) {
				t.Parallel()
				e := startPleo(t)
				c := onRedis(redistest.Start(t))
				c.options = faultTimes
				p := startProxy(t, e, c)
				before(t, e, p)
				disconnectInMidExchange(t, e, p, stage)
			})
		}
	}
}

// disconnect has an operator disconnect a connection.
func (p *proxy) disconnect(t *testing.T, connection string) {
	t.Helper()
	a := p.admin(t, http.MethodDelete, "/pleo/connections/"+connection, "", nil)
	require.Equal(t, http.StatusNoContent, a.status, "%s", a.body)
}

func disconnectInMidExchange(t *testing.T, e *pleo, p *proxy, stage pleotest.Stage) {
	t.Helper()
	const stored = `"connection authorised"`
	before := strings.Count(p.stderr.String(), stored)
	hold := e.Fault(exchangeFault(pleotest.Fault{Hold: stage}))
	b := newBrowser(t)
	back := request(t, http.MethodGet, e.approve(t, b, p.origin(), "default", company(0)), "")
	answered := make(chan answer, 1)
	go func() { answered <- send(b.Client, back) }()
	await(t, hold)
	p.disconnect(t, "default")
	hold.Release()

	told := <-answered
	require.NoError(t, told.err)
	require.Equal(t, http.StatusConflict, told.status)
	require.Contains(t, string(told.body), "the connection was disconnected")
	require.Equal(t, before, strings.Count(p.stderr.String(), stored))
	require.Eventually(t, func() bool {
		return strings.Contains(p.stderr.String(), "has been disconnected or authorised again since; nothing is stored")
	}, patience, tick)
	requireProblem(t, get(t, p.URL+"/v2/employees"), http.StatusUnauthorized, "not-connected")

	again := b.follow(t, e.approve(t, b, p.origin(), "default", company(0)))
	require.Equal(t, http.StatusOK, again.status)
	p.employees(t)
}
