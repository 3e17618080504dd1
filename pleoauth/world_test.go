package pleoauth_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const redirectURI = "http://localhost/callback"

// world is Pleo, a store and replicas, all in memory, for a synctest bubble.
type world struct {
	t     *testing.T
	pleo  *pleotest.Server
	store *memServer
	key   string
	log   *logBuffer
	cfg   pleoauth.Config
	all   []*replica
}

type replica struct {
	*pleoauth.Source
	store *memStore
	spill string
}

func newWorld(t *testing.T, options ...pleotest.Option) *world {
	w := &world{t: t, store: newMemServer(), key: pleoauth.GenerateKey(), log: &logBuffer{}}
	w.pleo = pleotest.NewServer(append([]pleotest.Option{
		pleotest.WithInMemory(), pleotest.WithURLs("http://auth.localhost", "http://api.localhost"),
		pleotest.WithRedirectURI(redirectURI), pleotest.WithAccessTokenLife(15 * time.Minute),
	}, options...)...)
	w.cfg = pleoauth.Config{
		AuthServer: "http://auth.localhost", APIServer: "http://api.localhost",
		ClientID: w.pleo.ClientID, ClientSecret: w.pleo.ClientSecret,
		Scopes: []string{"users:read"}, RedirectURI: redirectURI,
	}
	t.Cleanup(func() {
		w.close()
		log := w.log.String()
		for _, secret := range w.pleo.Secrets() {
			if strings.Contains(log, secret) {
				t.Fatal("a secret is in the log")
			}
		}
	})
	return w
}

// close ends all replicas, then Pleo.
func (w *world) close() {
	for _, r := range w.all {
		r.stop()
	}
	w.all = nil
	w.pleo.Close()
	time.Sleep(time.Minute) // lets go what Close did not wait for
}

func (r *replica) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = r.Close(ctx)
}

// replica starts one more process, as it were.
func (w *world) replica(change ...func(*pleoauth.Config)) *replica {
	w.t.Helper()
	cfg := w.cfg
	for _, f := range change {
		f(&cfg)
	}
	return w.replicaWith(cfg, w.t.TempDir())
}

// replicaDialling is a replica with connections of its own to Pleo.
func (w *world) replicaDialling(dial pleoauth.DialFunc) *replica {
	w.t.Helper()
	return w.replicaWith(w.cfg, w.t.TempDir(), pleoauth.WithDialContext(dial))
}

// replicaOn is a replica that starts on the disk of another.
func (w *world) replicaOn(spill string) *replica {
	r := w.replicaWith(w.cfg, spill)
	r.Start()
	return r
}

func (w *world) replicaWith(cfg pleoauth.Config, spill string, options ...pleoauth.Option) *replica {
	w.t.Helper()
	keys, err := pleoauth.NewKeyring(w.key)
	require.NoError(w.t, err)
	r := &replica{store: w.store.client(), spill: spill}
	r.Source, err = pleoauth.NewSource(cfg, r.store, keys, append([]pleoauth.Option{
		pleoauth.WithDialContext(w.dial),
		pleoauth.WithSpillDir(r.spill),
		pleoauth.WithLogger(slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	}, options...)...)
	require.NoError(w.t, err)
	w.all = append(w.all, r)
	return r
}

// dial reaches the emulator, which has other names.
func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return w.pleo.DialContext(ctx, network, strings.Replace(address, ".localhost:", ".pleo.test:", 1))
}

// authorise connects a connection through a replica, as a user would.
func (w *world) authorise(r *replica, name, company string) {
	w.t.Helper()
	_, err := w.tryAuthorise(r, pleoauth.AuthorisationRequest{Connection: name}, company)
	require.NoError(w.t, err)
	synctest.Wait() // what introspection is worth is found out beside it
}

func (w *world) tryAuthorise(r *replica, request pleoauth.AuthorisationRequest, company string) (pleoauth.Completed, error) {
	w.t.Helper()
	begun, err := r.BeginAuthorisation(context.Background(), request)
	require.NoError(w.t, err)
	back, err := w.pleo.Approve(begun.URL, company)
	require.NoError(w.t, err)
	return w.complete(r, callback(w.t, back, begun))
}

// complete comes back with a callback for as long as it is told to, as a browser
// does.
func (w *world) complete(r *replica, cb pleoauth.Callback) (pleoauth.Completed, error) {
	for {
		completed, err := r.CompleteAuthorisation(context.Background(), cb)
		if !errors.Is(err, pleoauth.ErrAuthorisationPending) {
			return completed, err
		}
		time.Sleep(completed.RetryAfter)
	}
}

func callback(t *testing.T, back string, begun pleoauth.Authorisation) pleoauth.Callback {
	t.Helper()
	u, err := url.Parse(back)
	require.NoError(t, err)
	q := u.Query()
	return pleoauth.Callback{
		State: q.Get("state"), Code: q.Get("code"), Error: q.Get("error"), Issuer: q.Get("iss"),
		Binding: func(id string) string {
			if id == begun.FlowID {
				return begun.Binding
			}
			return ""
		},
	}
}

// token returns a connection's current token, which must have been a live one when
// it was asked for, or be one now: a refresh in the background may kill one as it
// is handed out.
func (w *world) token(r *replica, name string) *pleoauth.Token {
	w.t.Helper()
	before := w.pleo.Authorisations(pleotest.Target{})
	token, err := r.Token(context.Background(), name)
	require.NoError(w.t, err)
	lived := slices.ContainsFunc(before, func(a pleotest.Authorisation) bool {
		return a.AccessToken != "" && token.Authorization() == "Bearer "+a.AccessToken
	})
	require.True(w.t, lived || w.lives(token), "the token must live")
	return token
}

func (w *world) lives(token *pleoauth.Token) bool {
	for _, a := range w.pleo.Authorisations(pleotest.Target{}) {
		if a.AccessToken != "" && token.Authorization() == "Bearer "+a.AccessToken {
			return true
		}
	}
	return false
}

// logBuffer collects a log of several goroutines.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
