package pleotest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const (
	redirectURI = "https://integration.example.com/pleo/callback"
	verifier    = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	state       = "state-of-this-very-request"
)

// integration is a client of Pleo as small as can be, that does what it is
// told, wrong things included.
type integration struct {
	*pleotest.Server
	t    *testing.T
	http *http.Client
}

func start(t *testing.T, options ...pleotest.Option) *integration {
	t.Helper()
	server := pleotest.NewServer(append([]pleotest.Option{pleotest.WithRedirectURI(redirectURI)}, options...)...)
	t.Cleanup(server.Close)
	client := server.HTTPClient()
	t.Cleanup(client.CloseIdleConnections)
	return &integration{server, t, client}
}

// request is a good authorisation request.
func (i *integration) request() url.Values {
	sum := sha256.Sum256([]byte(verifier))
	return url.Values{
		"response_type": {"code"}, "client_id": {i.ClientID}, "redirect_uri": {redirectURI},
		"scope": {"users:read export:read"}, "state": {state},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
}

func (i *integration) authoriseURL(parameters url.Values) string {
	return i.AuthURL + "/oauth/authorize?" + parameters.Encode()
}

// code has the user approve, and returns the code.
func (i *integration) code(company string) string {
	i.t.Helper()
	redirect, err := i.Approve(i.authoriseURL(i.request()), company)
	require.NoError(i.t, err)
	code := parse(i.t, redirect).Query().Get("code")
	require.NotEmpty(i.t, code)
	return code
}

func exchange(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirectURI},
		"code_verifier": {verifier},
	}
}

func refresh(token string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "refresh_token": {token}}
}

type answer struct {
	Status  int
	Header  http.Header
	Body    map[string]any
	Raw     string
	Access  string
	Refresh string
}

func (a answer) error() any { return a.Body["error"] }

// post sends a form with the client's authentication.
func (i *integration) post(path string, form url.Values) answer {
	i.t.Helper()
	return i.postAs(i.ClientID, i.ClientSecret, path, form)
}

func (i *integration) postAs(id, secret, path string, form url.Values) answer {
	i.t.Helper()
	r := i.newRequest(http.MethodPost, i.AuthURL+path, form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if id != "" {
		r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	}
	return i.do(r)
}

func (i *integration) token(form url.Values) answer {
	i.t.Helper()
	return i.post("/oauth/token", form)
}

func (i *integration) introspect(token string) answer {
	i.t.Helper()
	return i.post("/oauth/token/introspect", url.Values{"token": {token}})
}

func (i *integration) alive(token string) bool {
	i.t.Helper()
	a := i.introspect(token)
	require.Equal(i.t, http.StatusOK, a.Status)
	return as[bool](i.t, a.Body["active"])
}

// connect is the whole way from consent to tokens.
func (i *integration) connect(company string) answer {
	i.t.Helper()
	a := i.token(exchange(i.code(company)))
	require.Equal(i.t, http.StatusOK, a.Status, a.Raw)
	return a
}

func (i *integration) call(token, path string) answer {
	i.t.Helper()
	r := i.newRequest(http.MethodGet, i.APIURL+path, "")
	r.Header.Set("Authorization", "Bearer "+token)
	return i.do(r)
}

func (i *integration) newRequest(method, address, body string) *http.Request {
	i.t.Helper()
	r, err := http.NewRequestWithContext(i.t.Context(), method, address, strings.NewReader(body))
	require.NoError(i.t, err)
	return r
}

func (i *integration) do(r *http.Request) answer {
	i.t.Helper()
	a, err := i.try(r)
	require.NoError(i.t, err)
	return a
}

// try is do where the connection may break.
func (i *integration) try(r *http.Request) (answer, error) {
	response, err := i.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{Status: response.StatusCode, Header: response.Header, Raw: string(body)}
	decoder := json.NewDecoder(strings.NewReader(a.Raw))
	decoder.UseNumber()
	_ = decoder.Decode(&a.Body) // not all bodies are JSON
	a.Access, _ = a.Body["access_token"].(string)
	a.Refresh, _ = a.Body["refresh_token"].(string)
	return a, nil
}

func (i *integration) tryToken(form url.Values) (answer, error) {
	r := i.newRequest(http.MethodPost, i.AuthURL+"/oauth/token", form.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(i.ClientID), url.QueryEscape(i.ClientSecret))
	return i.try(r)
}

// as is a value out of a JSON body.
func as[T any](t *testing.T, value any) T {
	t.Helper()
	typed, ok := value.(T)
	require.True(t, ok, "%T is another type", value)
	return typed
}

func number(t *testing.T, value any) int {
	t.Helper()
	n, err := as[json.Number](t, value).Int64()
	require.NoError(t, err)
	return int(n)
}

type object = map[string]any

func parse(t *testing.T, address string) *url.URL {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	return u
}
