package test

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// pleo is the emulator of a test.
type pleo struct {
	*pleotest.Server
	mu     sync.Mutex
	client pleotest.Client

	// aboutAccess and aboutRefresh count what Pleo is asked about (introspection).
	aboutAccess, aboutRefresh atomic.Int64
}

// startPleo starts an emulator. When the test ends, nothing may ever have been
// forwarded without a token, and no refresh token or code been spent twice.
func startPleo(t *testing.T, options ...pleotest.Option) *pleo {
	t.Helper()
	client := pleotest.DefaultClient()
	e := &pleo{Server: pleotest.NewServer(append([]pleotest.Option{pleotest.WithClient(client)}, options...)...), client: client}
	// Faults that never happen count the questions.
	for kind, count := range map[pleotest.TokenKind]*atomic.Int64{pleotest.AccessToken: &e.aboutAccess, pleotest.RefreshToken: &e.aboutRefresh} {
		e.Fault(pleotest.Fault{Endpoint: pleotest.Introspect, Kind: kind, Times: pleotest.Always, Match: func(*http.Request) bool {
			count.Add(1)
			return false
		}})
	}
	t.Cleanup(func() {
		e.Close()
		c := e.Counters()
		require.Zero(t, c.TokenlessCalls, "calls without a token")
		require.Zero(t, c.MisplacedTokens, "tokens in a query or a form")
		require.Zero(t, c.Replays, "refresh tokens spent twice")
		require.Zero(t, c.CodeReplays, "codes spent twice")
	})
	return e
}

// ResetCounters sets all counters to zero, those of the questions too.
func (e *pleo) ResetCounters() {
	e.Server.ResetCounters()
	e.aboutAccess.Store(0)
	e.aboutRefresh.Store(0)
}

// requireAsked requires how often Pleo was asked about access tokens, which the API
// has refused, and about refresh tokens, each of which is asked about before it is
// spent.
func (e *pleo) requireAsked(t *testing.T, access, refresh int) {
	t.Helper()
	require.EqualValues(t, access, e.aboutAccess.Load(), "questions about access tokens")
	require.EqualValues(t, refresh, e.aboutRefresh.Load(), "questions about refresh tokens")
	require.Equal(t, access+refresh, e.Counters().Introspections)
}

// allowRedirect registers a redirect URI.
func (e *pleo) allowRedirect(t *testing.T, uri string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.client.RedirectURIs = append(slices.Clone(e.client.RedirectURIs), uri)
	require.NoError(t, e.AddClient(e.client))
}

// company is one of the emulator's companies.
func company(n int) pleotest.Company { return pleotest.Companies()[n] }

// authorise connects a company: the browser's whole way, and the user who
// clicks Approve on it.
func (e *pleo) authorise(t *testing.T, p *proxy, connection string, c pleotest.Company) {
	t.Helper()
	e.authoriseWith(t, newBrowser(t), p.origin(), connection, c)
}

func (e *pleo) authoriseWith(t *testing.T, b *browser, origin, connection string, c pleotest.Company) {
	t.Helper()
	back := e.approve(t, b, origin, connection, c)
	done := b.comeBack(t, back)
	require.Equal(t, 200, done.status, "the callback answers: %s", done.body)
	require.Contains(t, string(done.body), "Connected")
}

// approve takes a browser to Pleo and approves, and returns where it is sent.
func (e *pleo) approve(t *testing.T, b *browser, origin, connection string, c pleotest.Company) string {
	t.Helper()
	start := b.open(t, origin+"/pleo/authorise?connection="+url.QueryEscape(connection))
	require.Equal(t, 302, start.status, "authorise answers: %s", start.body)
	back, err := e.Approve(start.header.Get("Location"), c.Name)
	require.NoError(t, err)
	return back
}

// awaitExpiry waits until no access token of a company lives: until the proxies
// that kept it alive are idle, that is.
func (e *pleo) awaitExpiry(t *testing.T) {
	t.Helper()
	require.Eventually(t, func() bool {
		list := e.Authorisations(pleotest.Target{})
		return len(list) > 0 && !slices.ContainsFunc(list, func(a pleotest.Authorisation) bool { return a.AccessToken != "" })
	}, patience, tick)
}

// slowRefresh delays every refresh.
func (e *pleo) slowRefresh(d time.Duration) *pleotest.ActiveFault {
	return e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, DelayBefore: d, Times: pleotest.Always})
}

// await waits until a fault has met a request.
func await(t *testing.T, f *pleotest.ActiveFault) {
	t.Helper()
	select {
	case <-f.Reached():
	case <-time.After(patience):
		require.FailNow(t, "no request has met the fault")
	}
}
