package caddymodule

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestTheCallNamesItsConnection(t *testing.T) {
	for name, c := range map[string]struct {
		selector string
		header   http.Header
		expected string // "" means refused
	}{
		"no header":                          {"", http.Header{}, "default"},
		"the header":                         {"", http.Header{"Pleo-Connection": {"acme"}}, "acme"},
		"case counts":                        {"", http.Header{"Pleo-Connection": {"Acme"}}, "Acme"},
		"an empty header":                    {"", http.Header{"Pleo-Connection": {""}}, ""},
		"an empty header, stripped":          {"", http.Header{"Pleo-Connection": {""}, "Connection": {"keep-alive, pleo-connection"}}, ""},
		"a blank header":                     {"", http.Header{"Pleo-Connection": {" "}}, ""},
		"two headers":                        {"", http.Header{"Pleo-Connection": {"acme", "umbrella"}}, ""},
		"the same header twice":              {"", http.Header{"Pleo-Connection": {"acme", "acme"}}, ""},
		"two headers, one empty":             {"", http.Header{"Pleo-Connection": {"", "acme"}}, ""},
		"a list":                             {"", http.Header{"Pleo-Connection": {"acme,umbrella"}}, ""},
		"a path":                             {"", http.Header{"Pleo-Connection": {"../acme"}}, ""},
		"a placeholder in a header":          {"", http.Header{"Pleo-Connection": {"{env.HOME}"}}, ""},
		"a literal":                          {"acme", http.Header{}, "acme"},
		"the header is ignored beside it":    {"acme", http.Header{"Pleo-Connection": {"umbrella"}}, "acme"},
		"by another header":                  {"{http.request.header.X-Customer}", http.Header{"X-Customer": {"acme"}}, "acme"},
		"by an empty header":                 {"{http.request.header.X-Customer}", http.Header{"X-Customer": {""}}, ""},
		"by a missing header":                {"{http.request.header.X-Customer}", http.Header{}, ""},
		"by a doubled header":                {"{http.request.header.X-Customer}", http.Header{"X-Customer": {"a", "b"}}, ""},
		"by a header with a placeholder":     {"{http.request.header.X-Customer}", http.Header{"X-Customer": {"{http.request.host}"}}, ""},
		"part of it missing":                 {"c-{http.request.header.X-Customer}", http.Header{}, ""},
		"by host":                            {"{http.request.host.labels.1}", http.Header{}, "acme"},
		"by port":                            {"{http.request.port}", http.Header{}, "7536"},
		"by path":                            {"{http.request.uri.path.0}", http.Header{}, "v2"},
		"an unknown placeholder":             {"{nonsense}", http.Header{}, ""},
		"an unknown placeholder in the name": {"a{nonsense}", http.Header{}, ""},
		"by query":                           {"{http.request.uri.query.c}", http.Header{}, "q"},
	} {
		t.Run(name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://acme.localhost:7536/v2/employees?c=q", nil)
			req.Header = c.header
			_, repl := prepared(t, req)
			out := req.Clone(req.Context())
			if len(c.header["Connection"]) > 0 {
				out.Header.Del("Pleo-Connection")
			}
			got, err := connectionOf(out, repl, c.selector)
			if c.expected == "" {
				require.ErrorIs(t, err, pleoauth.ErrInvalidConnection)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.expected, got)
		})
	}
}

func TestTheConnectionIsReadAlthoughTheCopyWasStripped(t *testing.T) {
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "http://localhost:7536/", nil)
	req.Header.Set("Pleo-Connection", "acme")
	_, repl := prepared(t, req)
	out := req.Clone(req.Context())
	out.Header.Del("Pleo-Connection")
	got, err := connectionOf(out, repl, "")
	require.NoError(t, err)
	require.Equal(t, "acme", got)
}
