package test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// maxDrain is how long a drain waits at most.
const maxDrain = 500 * time.Millisecond

// inFlight counts the calls of each connection that carry a token and have not
// been answered.
type inFlight struct {
	mu    sync.Mutex
	calls map[string]int
	ended chan struct{} // closed and replaced when a call ends
}

func (f *inFlight) begin(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]++
}

func (f *inFlight) end(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[name]--
	close(f.ended)
	f.ended = make(chan struct{})
}

// drain waits until no call of the connection is in flight, but not for long.
func (f *inFlight) drain(name string) {
	timeout := time.NewTimer(maxDrain)
	defer timeout.Stop()
	for {
		f.mu.Lock()
		left, ended := f.calls[name], f.ended
		f.mu.Unlock()
		if left == 0 {
			return
		}
		select {
		case <-ended:
		case <-timeout.C:
			return
		}
	}
}

// gateStore is a store that treats the announcement of a refresh in one of the
// ways that are compared.
type gateStore struct {
	*redisstore.Store
	world *gateWorld
}

// Publish notes when a refresh is announced. The attempt that announces it marks
// and sends once this returns, so a wait here is a drain.
func (s gateStore) Publish(ctx context.Context, n pleoauth.Notice) error {
	if n.Kind != pleoauth.NoticeGate {
		return s.Store.Publish(ctx, n)
	}
	s.world.announced(n.Connection)
	if s.world.way == gateAlone {
		return nil
	}
	err := s.Store.Publish(ctx, n)
	if s.world.way == gateDrained {
		s.world.inFlight.drain(n.Connection)
	}
	return err
}

// gateWorld is Pleo, and replicas with connections in use.
type gateWorld struct {
	way      gateWay
	pleo     *pleo
	replicas []*pleoauth.Source
	names    []string
	inFlight inFlight

	mu        sync.Mutex
	refreshes map[string][]time.Time
}

func newGateWorld(t *testing.T, r *redistest.Server, c gateCell) *gateWorld {
	t.Helper()
	const redirect = "http://localhost/callback"
	w := &gateWorld{
		way: c.way, pleo: startPleo(t, pleotest.WithAccessTokenLife(gateLife)), refreshes: map[string][]time.Time{},
		inFlight: inFlight{calls: map[string]int{}, ended: make(chan struct{})},
	}
	w.pleo.allowRedirect(t, redirect)
	slow := pleotest.Fault{Endpoint: pleotest.API, Times: pleotest.Always, DelayAfter: c.takes}
	if c.judged == judgedAtItsEnd {
		slow.DelayBefore, slow.DelayAfter = c.takes, 0
	}
	w.pleo.Fault(slow)
	keys, err := pleoauth.NewKeyring(sealingKey)
	require.NoError(t, err)
	for range 3 {
		options, err := redisstore.ParseURL(r.URL())
		require.NoError(t, err)
		store, err := redisstore.New(options, pleoauth.Identity{Issuer: w.pleo.AuthURL, ClientID: w.pleo.ClientID})
		require.NoError(t, err)
		source, err := pleoauth.NewSource(pleoauth.Config{
			AuthServer: w.pleo.AuthURL, APIServer: w.pleo.APIURL, ClientID: w.pleo.ClientID,
			ClientSecret: w.pleo.ClientSecret, Scopes: []string{"users:read"}, RedirectURI: redirect,
		}, gateStore{store, w}, keys, pleoauth.WithSpillDir(t.TempDir()), pleoauth.WithLogger(discardLog))
		require.NoError(t, err)
		w.replicas = append(w.replicas, source)
	}
	for i := range gateConnections {
		w.names = append(w.names, fmt.Sprint("customer-", i))
		w.authorise(t, w.names[i], company(i%3))
	}
	return w
}

func (w *gateWorld) authorise(t *testing.T, name string, c pleotest.Company) {
	t.Helper()
	begun, err := w.replicas[0].BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Connection: name})
	require.NoError(t, err)
	back, err := w.pleo.Approve(begun.URL, c.Name)
	require.NoError(t, err)
	u, err := url.Parse(back)
	require.NoError(t, err)
	_, err = w.replicas[0].CompleteAuthorisation(t.Context(), pleoauth.Callback{
		State: u.Query().Get("state"), Code: u.Query().Get("code"),
		Binding: func(string) string { return begun.Binding },
	})
	require.NoError(t, err)
}

// close ends the replicas; the emulator ends with the test.
func (w *gateWorld) close(t *testing.T) {
	t.Helper()
	for _, r := range w.replicas {
		require.NoError(t, r.Close(t.Context()))
	}
}

func (w *gateWorld) announced(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refreshes[name] = append(w.refreshes[name], time.Now())
}

// near reports whether a refresh of the connection was announced within half a
// second of a moment.
func (w *gateWorld) near(name string, at time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.refreshes[name], func(r time.Time) bool { return r.Sub(at).Abs() <= 500*time.Millisecond })
}

func (w *gateWorld) nameOf(call int) string { return w.names[call%len(w.names)] }

// call calls the API as the proxy does: with the current token, and again with
// another one if that is refused.
func (w *gateWorld) call(t *testing.T, i int) answer {
	source, name := w.replicas[i/len(w.names)%len(w.replicas)], w.nameOf(i)
	token, err := source.Token(t.Context(), name)
	for range 3 {
		if err != nil {
			return answer{err: err}
		}
		w.inFlight.begin(name)
		a := send(client, request(t, http.MethodGet, w.pleo.APIURL+"/v1/companies", "", withHeader("Authorization", token.Authorization())))
		w.inFlight.end(name)
		if a.status != http.StatusUnauthorized {
			return a
		}
		token, err = source.Refused(t.Context(), name, token)
	}
	return answer{status: http.StatusUnauthorized}
}
