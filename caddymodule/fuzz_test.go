package caddymodule

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// flowStore keeps flows and knows nothing else: what a browser that has not been
// to Pleo can get at.
type flowStore struct {
	pleoauth.Store // nil: nothing of it may be asked
	flows          map[string][]byte
}

func (s *flowStore) Listen(func(pleoauth.Notice)) {}
func (s *flowStore) Close() error                 { return nil }

func (s *flowStore) PutFlow(_ context.Context, id string, data []byte, _ time.Duration) error {
	s.flows[id] = data
	return nil
}

func (s *flowStore) Flow(_ context.Context, id string) ([]byte, error) {
	if data, ok := s.flows[id]; ok {
		return data, nil
	}
	return nil, pleoauth.ErrNoFlow
}

func (s *flowStore) TakeFlow(ctx context.Context, id string) ([]byte, error) {
	data, err := s.Flow(ctx, id)
	delete(s.flows, id)
	return data, err
}

func (s *flowStore) Due(context.Context, int) ([]string, error) { return nil, nil }

// browserWorld is the app behind the handlers for browsers, without Pleo.
func browserWorld(t testing.TB) (*App, *flowStore) {
	t.Helper()
	config := pleoauth.Config{
		ClientID: "acme", ClientSecret: "acme-secret", RedirectURI: "https://integration.example.com/pleo/callback", Scopes: []string{"users:read"},
	}.WithDefaults()
	keys, err := pleoauth.NewKeyring(pleoauth.GenerateKey())
	require.NoError(t, err)
	store := &flowStore{flows: map[string][]byte{}}
	source, err := pleoauth.NewSource(config, store, keys, pleoauth.WithLogger(slog.New(slog.DiscardHandler)),
		pleoauth.WithDialContext(nil))
	require.NoError(t, err)
	app := &App{config: config, life: newLifetime(), logger: zap.NewNop(), origins: []string{"https://app.example.com"}}
	app.life.shared.Store(&sharedSource{source: source})
	return app, store
}

// browse has a handler answer a request for a query.
func browse(t *testing.T, handler caddyhttp.MiddlewareHandler, rawQuery string, cookies ...*http.Cookie) *http.Response {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://integration.example.com/pleo", nil)
	req.URL.RawQuery = rawQuery
	for _, c := range cookies {
		req.AddCookie(c)
	}
	w := httptest.NewRecorder()
	req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), w, new(caddyhttp.Server))
	require.NoError(t, handler.ServeHTTP(w, req, nil), "an error would have Caddy log the URL")
	res := w.Result()
	require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
	require.Equal(t, "no-referrer", res.Header.Get("Referrer-Policy"))
	require.Equal(t, pagePolicy("'none'"), res.Header.Get("Content-Security-Policy"))
	return res
}

func FuzzAuthoriseQuery(f *testing.F) {
	for _, seed := range []string{
		"", "connection=acme&return_to=/settings&subject=urn:pleo:company:1", "connection=", "connection=a&connection=b", "connection=a;b",
		"return_to=//evil.example", "return_to=https%3A%2F%2Fapp.example.com%2Fx", "subject=urn:%0d%0a", "%zz", "return_to=/%22%3E%3Cscript%3E",
	} {
		f.Add(seed)
	}
	app, store := browserWorld(f)
	began := 0
	f.Fuzz(func(t *testing.T, rawQuery string) {
		if began++; began%5000 == 0 { // a source begins only so many in ten minutes
			app, store = browserWorld(t)
		}
		clear(store.flows)
		res := browse(t, &Authorise{app: app, logger: app.logger}, rawQuery)
		if res.StatusCode != http.StatusFound {
			require.Equal(t, http.StatusBadRequest, res.StatusCode)
			require.Empty(t, store.flows)
			require.Empty(t, res.Cookies())
			require.Empty(t, res.Header.Get("Location"))
			return
		}
		require.Len(t, store.flows, 1)
		require.Len(t, res.Cookies(), 1)
		to, err := url.Parse(res.Header.Get("Location"))
		require.NoError(t, err)
		require.Equal(t, "https://auth.pleo.io/oauth/authorize", to.Scheme+"://"+to.Host+to.Path)
		sent := to.Query()
		require.Equal(t, []string{app.config.RedirectURI}, sent["redirect_uri"])
		require.Equal(t, []string{"S256"}, sent["code_challenge_method"])
		require.Equal(t, []string{"users:read"}, sent["scope"])
		require.Len(t, sent["state"], 1)
		asked, err := url.ParseQuery(rawQuery)
		require.NoError(t, err)
		require.Equal(t, asked.Get("subject"), sent.Get("urn_pleo_params_oauth_subject"))
	})
}

func FuzzCallbackQuery(f *testing.F) {
	for _, seed := range []string{
		"state=STATE&code=x", "state=STATE&error=access_denied", "state=STATE", "code=x", "state=STATE&state=STATE&code=x", "state=STATE&code=x&iss=https://evil.example",
		"state=STATE&error=%3Cscript%3E&error_description=%3Cscript%3E", "state=STATE;code=x", "%zz", "state=STATE%00&code=x", "STATE", "iss=&state=STATE&error=x",
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, rawQuery string, cookie bool) {
		app, store := browserWorld(t)
		begun, err := app.life.shared.Load().source.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Connection: "the-connection"})
		require.NoError(t, err)
		to, err := url.Parse(begun.URL)
		require.NoError(t, err)
		state := to.Query().Get("state")
		rawQuery = strings.ReplaceAll(rawQuery, "STATE", state)
		var cookies []*http.Cookie
		if cookie {
			if q, err := url.ParseQuery(rawQuery); err == nil && q.Get("error") == "" && q.Get("code") != "" && q.Get("state") == state {
				return // that would be a callback of Pleo's, and go there
			}
			cookies = append(cookies, &http.Cookie{Name: "__Host-pleo-flow-" + begun.FlowID, Value: begun.Binding})
		}
		res := browse(t, &Callback{app: app, logger: app.logger}, rawQuery, cookies...)
		require.Contains(t, []int{http.StatusBadRequest, http.StatusForbidden}, res.StatusCode)
		require.Empty(t, res.Header.Get("Location"))
		body, err := io.ReadAll(res.Body)
		require.NoError(t, err)
		require.NotContains(t, string(body), state)
		require.NotContains(t, string(body), "<script")
		if !cookie {
			require.Len(t, store.flows, 1, "another browser spends nothing")
			require.NotContains(t, string(body), "the-connection")
		}
	})
}

var connectionName = regexp.MustCompile(`\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\z`)

func FuzzConnectionNames(f *testing.F) {
	for _, seed := range []string{"default", "", "a/b", "../x", "a b", "{env.HOME}", "a,b", "é", "a\x00", strings.Repeat("a", 129), "A:b.c_d-e", "a\n"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		require.Equal(t, connectionName.MatchString(name), pleoauth.CheckConnection(name) == nil)

		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost/", nil)
		req.Header["Pleo-Connection"] = []string{name}
		_, repl := prepared(t, req)
		for _, selector := range []string{"", "{http.request.header.Pleo-Connection}"} {
			got, err := connectionOf(req, repl, selector)
			if err == nil {
				require.Equal(t, name, got, "a call goes to the connection that it names, or to none")
				require.Regexp(t, connectionName, got)
			} else {
				require.ErrorIs(t, err, pleoauth.ErrInvalidConnection)
			}
		}
	})
}

// Whatever a Caddyfile says, it is adapted or refused, and what is adapted keeps
// placeholders as they are: a secret's value gets into the saved configuration
// only if it stands in the file.
func FuzzCaddyfile(f *testing.F) {
	const global = "{\n\tpleo {\n\t\tclient_id acme\n\t\tredirect_uri https://a.example/cb\n\t\t%\n\t}\n}\n:80 {\n\tpleo_authorise /a\n\tpleo_callback /c\n\tpleo_health /h\n\tpleo_proxy {\n\t\t@\n\t}\n}\n"
	for _, options := range [][2]string{
		{"", ""},
		{"client_secret {env.PLEO_FUZZ_SECRET}", "connection {labels.1}"},
		{"store redis {env.PLEO_FUZZ_SECRET} {\n\t\t\tcluster\n\t\t}", "transport pleo {\n\t\t\ttls\n\t\t}"},
		{"encryption_key {env.PLEO_FUZZ_SECRET}", "allow_clients 10.0.0.0/8"},
		{"auth_server http://127.0.0.1:1", "to 127.0.0.1:1"},
		{"return_to_origins https://app.example.com", "header_up Authorization x"},
		{"refresh_before 1s\n\t\tkeep_alive 30d", "replay_buffer 1KiB"},
		{"api_server {$X}", "health_uri /"},
	} {
		f.Add(strings.NewReplacer("%", options[0], "@", options[1]).Replace(global))
	}
	f.Setenv("PLEO_FUZZ_SECRET", "value-of-the-secret")
	adapter := caddyconfig.GetAdapter("caddyfile")
	f.Fuzz(func(t *testing.T, text string) {
		// Reading other files, and splicing the environment in, are Caddy's own
		// business.
		if strings.Contains(text, "import") || strings.Contains(text, "{$") {
			return
		}
		config, _, err := adapter.Adapt([]byte(text), map[string]any{"filename": "Caddyfile"})
		for _, said := range []string{string(config), fmtError(err)} {
			require.NotContains(t, said, "value-of-the-secret")
		}
		if err == nil {
			require.NotContains(t, string(config), `"insecure_skip_verify":true,"protocol":"pleo"`)
		}
	})
}

func fmtError(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
