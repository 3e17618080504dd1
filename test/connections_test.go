package test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// everySelection has a site for every way to select a connection.
const everySelection = `
http://:{port+1} {
	bind 127.0.0.1
	pleo_proxy {
		connection a
	}
}
http://:{port+2} {
	bind 127.0.0.1
	pleo_proxy {
		connection b
	}
}
http://:{port+3} {
	bind 127.0.0.1
	handle_path /customers/a/* {
		pleo_proxy {
			connection a
		}
	}
	handle_path /customers/b/* {
		pleo_proxy {
			connection b
		}
	}
	@any path_regexp any ^/any/([^/]*)/
	route @any {
		uri path_regexp ^/any/[^/]*/ /
		pleo_proxy {
			connection {re.any.1}
		}
	}
}
http://:{port+4} {
	bind 127.0.0.1
	pleo_proxy {
		connection {labels.1}
	}
}
`

// selection is a way to call as the connection a or b.
type selection struct {
	name    string
	base    func(p *proxy, connection string) string
	options func(connection string) []option
}

var selections = []selection{
	{
		"header",
		func(p *proxy, _ string) string { return p.URL },
		func(c string) []option { return []option{on(c)} },
	},
	{
		"port",
		func(p *proxy, c string) string { return p.site(map[string]int{"a": 1, "b": 2}[c]) },
		// Where the configuration selects, a header of the caller's does not.
		func(c string) []option { return []option{on(map[string]string{"a": "b", "b": "a"}[c])} },
	},
	{
		"path",
		func(p *proxy, c string) string { return p.site(3) + "/customers/" + c },
		func(string) []option { return nil },
	},
	{
		"path placeholder",
		func(p *proxy, c string) string { return p.site(3) + "/any/" + c },
		func(string) []option { return nil },
	},
	{
		"host placeholder",
		func(p *proxy, _ string) string { return p.site(4) },
		func(c string) []option { return []option{withHost(c + ".localhost")} },
	},
}

func TestTwoConnectionsNeverSeeEachOthersDataHoweverTheyAreSelected(t *testing.T) {
	t.Parallel()
	// Short lives, so that refreshes of both go on all the time.
	e, r := startPleo(t, pleotest.WithAccessTokenLife(2*time.Second)), redistest.Start(t)
	c := onRedis(r)
	c.sites = everySelection
	p := startProxy(t, e, c)
	companies := map[string]pleotest.Company{"a": company(0), "b": company(1)}
	for connection, company := range companies {
		e.authorise(t, p, connection, company)
	}

	names := []string{"a", "b"}
	steady(t, func() bool { return e.Counters().Refreshes >= 6 }, func() {
		calls := 4 * len(selections)
		answers := herd(calls, func(i int) answer {
			s, connection := selections[i%len(selections)], names[i/len(selections)%2]
			return send(client, request(t, http.MethodGet, s.base(p, connection)+"/v1/echo", "", s.options(connection)...))
		})
		for i, a := range answers {
			s, connection := selections[i%len(selections)], names[i/len(selections)%2]
			require.NoError(t, a.err)
			require.Equal(t, companies[connection].ID, a.companyID(t), "%s by %s", connection, s.name)
		}
	})
}

func TestTheHeaderThatSelectsAndCredentialsOfTheCallersDoNotGoToPleo(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{})
	e.authorise(t, p, "acme", company(1))

	a := get(t, p.URL+"/v1/echo?q=a%2Fb", on("acme"),
		withHeader("Authorization", "Bearer something-of-the-callers"), withHeader("Cookie", "session=1"),
		withHeader("Forwarded", "for=10.0.0.1"), withHeader("X-Forwarded-For", "10.0.0.1"), withHeader("X-Own", "stays"))

	require.Equal(t, company(1).ID, a.companyID(t))
	var echo struct {
		Data struct {
			RawPath, RawQuery string
			Header            http.Header
		}
	}
	a.decode(t, &echo)
	require.Equal(t, "/v1/echo", echo.Data.RawPath)
	require.Equal(t, "q=a%2Fb", echo.Data.RawQuery)
	require.Equal(t, []string{"Bearer " + company(1).Name}, echo.Data.Header["Authorization"])
	require.Equal(t, "stays", echo.Data.Header.Get("X-Own"))
	for name := range echo.Data.Header {
		require.NotContains(t, []string{"Pleo-Connection", "Cookie", "Forwarded"}, name)
		require.False(t, strings.HasPrefix(name, "X-Forwarded"), name)
	}
}

func TestAnUnknownConnectionIs401AndAMalformedOne400AndNeitherIsForwarded(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	c := onRedis(r)
	c.sites = everySelection
	p := startProxy(t, e, c)
	e.authorise(t, p, "default", company(0)) // which nothing below may fall back to
	p.employees(t)
	before := e.Counters().APICalls

	for name, a := range map[string]answer{
		"header": get(t, p.URL+"/v2/employees", on("nobody")),
		"case":   get(t, p.URL+"/v2/employees", on("Default")),
		"port":   get(t, p.site(1)+"/v2/employees"),
		"path":   get(t, p.site(3)+"/customers/b/v2/employees"),
		"any":    get(t, p.site(3)+"/any/nobody/v2/employees"),
		"host":   get(t, p.site(4)+"/v2/employees", withHost("nobody.localhost")),
		"POST":   post(t, p.URL+"/v1/receipts", "{}", on("nobody")),
	} {
		problem := requireProblem(t, a, http.StatusUnauthorized, "not-connected")
		require.Equal(t, "Bearer", a.header.Get("WWW-Authenticate"), name)
		require.Equal(t, p.origin()+"/pleo/authorise?connection="+problem.Connection, problem.AuthoriseURI, name)
	}
	require.Equal(t, http.StatusUnauthorized, do(t, client, request(t, http.MethodHead, p.URL+"/v2/employees", "", on("nobody"))).status)

	header := func(values ...string) answer {
		return get(t, p.URL+"/v2/employees", withHeader("Pleo-Connection", values...))
	}
	for name, a := range map[string]answer{
		"empty":                header(""),
		"blank":                header(" "),
		"slash":                header("a/b"),
		"dot first":            header(".a"),
		"space":                header("a b"),
		"not ASCII":            header("é"),
		"too long":             header(strings.Repeat("a", 129)),
		"placeholder":          header("{env.HOME}"),
		"doubled":              header("default", "default"),
		"doubled in one":       header("default,default"),
		"empty and hop-by-hop": get(t, p.URL+"/v2/employees", on(""), withHeader("Connection", "Pleo-Connection")),
		"path":                 get(t, p.site(3)+"/any/a%20b/v2/employees"),
		"host, unresolved":     get(t, p.site(4)+"/v2/employees", withHost("localhost")),
	} {
		t.Log(name)
		requireProblem(t, a, http.StatusBadRequest, "invalid-connection")
	}
	require.Equal(t, before, e.Counters().APICalls, "none of them may have reached the API")
	requireProblem(t, header(strings.Repeat("a", 128)), http.StatusUnauthorized, "not-connected") // the longest name that is one
}

func TestCallersThatAreNotAllowedAreRefusedAndNotForwarded(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{proxy: "allow_hosts proxy.internal"})
	e.authorise(t, p, "default", company(0))
	before := e.Counters().APICalls

	for _, c := range []struct {
		reason string
		option option
	}{
		{"host", withHost("evil.example")},
		{"host", withHost(fmt.Sprintf("localhost.evil.example:%d", p.port))},
		{"origin", withHeader("Origin", "https://evil.example")},
		{"origin", withHeader("Origin", "null")},
		{"origin", withHeader("Sec-Fetch-Site", "cross-site")},
	} {
		a := requireProblem(t, get(t, p.URL+"/v2/employees", c.option), http.StatusForbidden, "client-not-allowed")
		require.Equal(t, c.reason, a.Reason)
	}
	require.Equal(t, before, e.Counters().APICalls)
	p.employees(t, withHost("proxy.internal"))
	p.employees(t, withHost("localhost"))
}
