package caddymodule_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestTheConnectionCanBeChosenByPortHostHeaderAndPath(t *testing.T) {
	w := newWorld(t)
	ports := freeAddresses(t, 4)
	port := func(i int) string { _, p, _ := net.SplitHostPort(ports[i]); return p }
	sites := fmt.Sprintf(`
&(by_path) {
	pleo_proxy {
		connection {http.request.orig_uri.path.0}
	}
}
http://:%s {
	bind 127.0.0.1
	handle {
		pleo_proxy {
			connection port-%s
		}
	}
}
http://:%s {
	bind 127.0.0.1
	route {
		pleo_proxy {
			connection {labels.1}
			header_up -X-Nothing
		}
	}
}
http://:%s {
	bind 127.0.0.1
	pleo_proxy {
		connection {header.X-Customer}
		header_up -X-Customer
	}
}
http://:%s {
	bind 127.0.0.1
	handle_path /acme/* {
		invoke by_path
	}
	handle_path /umbrella/* {
		invoke by_path
	}
}`, port(0), port(0), port(1), port(2), port(3))
	w.start("", "", sites)
	companies := pleotest.Companies()
	w.connect("port-"+port(0), companies[0].ID)
	w.connect("acme", companies[1].ID)
	w.connect("umbrella", companies[2].ID)

	at := func(i int) *world { other := *w; other.app = ports[i]; return &other }
	for name, c := range map[string]struct {
		res     answer
		company pleotest.Company
	}{
		"port":                        {at(0).call(http.MethodGet, "/v1/introspect", nil), companies[0]},
		"port, whatever the header":   {at(0).call(http.MethodGet, "/v1/introspect", nil, "Pleo-Connection: acme"), companies[0]},
		"host":                        {at(1).call(http.MethodGet, "/v1/introspect", nil, "Host: acme.localhost"), companies[1]},
		"another host":                {at(1).call(http.MethodGet, "/v1/introspect", nil, "Host: umbrella.localhost"), companies[2]},
		"header, stripped by options": {at(2).call(http.MethodGet, "/v1/introspect", nil, "X-Customer: umbrella"), companies[2]},
		"header, stripped by caller":  {at(2).call(http.MethodGet, "/v1/introspect", nil, "X-Customer: acme", "Connection: X-Customer"), companies[1]},
		"path":                        {at(3).call(http.MethodGet, "/acme/v1/introspect", nil), companies[1]},
		"another path":                {at(3).call(http.MethodGet, "/umbrella/v1/introspect", nil), companies[2]},
	} {
		require.Equal(t, http.StatusOK, c.res.StatusCode, name+": "+c.res.body)
		require.Contains(t, c.res.body, c.company.URN(), name)
	}
	w.problem(at(1).call(http.MethodGet, "/v1/introspect", nil, "Host: nobody.localhost"), 401, "not-connected")
	w.problem(at(2).call(http.MethodGet, "/v1/introspect", nil), 400, "invalid-connection")
	w.problem(at(2).call(http.MethodGet, "/v1/introspect", nil, "Pleo-Connection: acme"), 400, "invalid-connection")
}
