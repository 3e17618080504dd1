package test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// statusPath is where the tests have the connections page.
const statusPath = "/pleo/status"

// startPages starts a proxy with all pages, and a browser to look at them.
func startPages(t *testing.T) (*pleo, *proxy, *chromium) {
	t.Helper()
	e := startPleo(t)
	return e, startProxy(t, e, config{site: "pleo_status " + statusPath}), startChromium(t)
}

// consent chooses a company at Pleo and decides, approve or deny.
func (b *tab) consent(c pleotest.Company, decision string) (status int, heading string) {
	b.t.Helper()
	require.Contains(b.t, b.text("h1"), "would like to connect")
	b.do(chromedp.SetValue(chromedp.CSS("#company"), c.ID))
	return b.click("button[value=" + decision + "]")
}

func requireShown(t *testing.T, expected string) func(status int, heading string) {
	t.Helper()
	code, text, _ := strings.Cut(expected, " ")
	return func(status int, heading string) {
		t.Helper()
		require.Equal(t, code, fmt.Sprint(status), heading)
		require.Equal(t, text, heading)
	}
}

func row(connection, within string) string {
	return fmt.Sprintf(`form:has(input[name="connection"][value=%q]) %s`, connection, within)
}

func disconnectLink(connection string) string {
	return fmt.Sprintf("a[href='?disconnect=%s']", connection)
}

func TestPeopleConnectAndDisconnectInABrowserWithoutScripts(t *testing.T) {
	t.Parallel()
	e, p, c := startPages(t)

	t.Run("from the first click to data in the application", func(t *testing.T) {
		b := c.person(t)
		requireShown(t, "200 Connections")(b.open(p.URL + statusPath))
		require.Contains(t, b.text("main"), "Nothing is connected yet")
		b.fill("#connection", "acme")
		status, _ := b.click("form[method=post] button")
		require.Equal(t, http.StatusOK, status)
		requireShown(t, "200 Connected")(b.consent(company(1), "approve"))
		require.Contains(t, b.text("main"), "as acme")
		b.screen(720, 400, "light")
		b.picture("connected")
		require.Equal(t, company(1).ID, get(t, p.URL+"/v1/echo", on("acme")).companyID(t))
		p.employees(t, on("acme"))

		requireShown(t, "200 Connections")(b.open(p.URL + statusPath))
		require.Contains(t, b.text("tbody"), "acme")
		require.Equal(t, "Connected", b.text(".state"))
		requireShown(t, "400 This link cannot be used")(b.open(p.redirectURI() + "?state=made-up&code=x"))
	})

	t.Run("disconnecting asks first, and connecting again heals", func(t *testing.T) {
		b := c.person(t)
		b.open(p.origin() + statusPath)
		requireShown(t, "200 Disconnect acme?")(b.click(disconnectLink("acme")))
		requireShown(t, "200 Connections")(b.click("a.button")) // Keep it
		p.employees(t, on("acme"))
		b.click(disconnectLink("acme"))
		requireShown(t, "200 Connections")(b.click("button.danger"))
		require.Contains(t, b.text("[role=status]"), "acme is disconnected")
		require.Equal(t, "Disconnected", b.text(".state"))
		requireProblem(t, get(t, p.URL+"/v2/employees", on("acme")), http.StatusUnauthorized, "not-connected")

		b.click(row("acme", "button"))
		requireShown(t, "200 Connected")(b.consent(company(1), "approve"))
		p.employees(t, on("acme"))
	})

	t.Run("whoever denies is told so, and may start again", func(t *testing.T) {
		b := c.person(t)
		b.open(p.origin() + "/pleo/authorise?connection=globex")
		requireShown(t, "403 Not authorised")(b.consent(company(0), "deny"))
		requireProblem(t, get(t, p.URL+"/v2/employees", on("globex")), http.StatusUnauthorized, "not-connected")
		b.click("a.button")
		requireShown(t, "200 Connected")(b.consent(company(0), "approve"))
		p.employees(t, on("globex"))
	})

	t.Run("a link that was used or has expired stores nothing", func(t *testing.T) {
		b := c.person(t)
		b.open(p.origin() + "/pleo/authorise?connection=late")
		forgetFlows(t, p)
		requireShown(t, "400 This link cannot be used")(b.consent(company(0), "approve"))
		requireProblem(t, get(t, p.URL+"/v2/employees", on("late")), http.StatusUnauthorized, "not-connected")

		b.open(p.origin() + "/pleo/authorise?connection=late")
		requireShown(t, "200 Connected")(b.consent(company(0), "approve"))
		requireShown(t, "400 This link cannot be used")(b.load(chromedp.Reload()))
		p.employees(t, on("late"))
	})

	t.Run("another browser cannot finish what one has started", func(t *testing.T) {
		b, other := c.person(t), c.person(t)
		b.open(p.origin() + "/pleo/authorise?connection=initech")
		back, err := e.Approve(b.url(), company(0).Name)
		require.NoError(t, err)
		requireShown(t, "403 Started in another browser")(other.open(back))
		requireShown(t, "200 Connected")(b.open(back))
		p.employees(t, on("initech"))
	})

	t.Run("a page of another site gets nowhere", func(t *testing.T) {
		b := c.person(t)
		b.open(p.URL + statusPath) // has its cookie
		// The emulator's page is one of another origin. It has a link and a form.
		b.open(e.AuthURL + "/oauth/authorize")
		lead := func(html string) {
			b.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("document.body.innerHTML = %q", html)))
		}
		lead(fmt.Sprintf(`<a href=%q>connections</a>`, p.URL+statusPath))
		requireShown(t, "403 Opened from another site")(b.click("a"))
		requireShown(t, "200 Connections")(b.click("a.button")) // Go on

		b.open(e.AuthURL + "/oauth/authorize")
		lead(fmt.Sprintf(`<form method="post" action=%q><input name="action" value="disconnect"><input name="connection" value="acme"><button>x</button></form>`, p.URL+statusPath))
		requireShown(t, "403 Opened from another site")(b.click("button"))
		p.employees(t, on("acme"))
	})

	t.Run("all can be done by keyboard", func(t *testing.T) {
		b := c.person(t)
		b.open(p.origin() + statusPath)
		focus := func() string {
			return value(b, chromedp.Evaluate[string](`(e => (e.name || e.textContent.trim()) + (getComputedStyle(e).outlineStyle === "none" ? " without a ring" : ""))(document.activeElement)`))
		}
		var order []string
		for range 7 {
			b.do(chromedp.KeyEvent(kb.Tab))
			order = append(order, focus())
		}
		require.Equal(t, []string{"find", "Find", "connection", "Connect", "Reconnect acme", "Disconnect acme", "Reconnect globex"}, order)
		b.open(p.origin() + statusPath)
		b.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent("nobody"))
		requireShown(t, "404 Connections")(b.load(chromedp.KeyEvent(kb.Enter)))
		require.Equal(t, "nobody", value(b, chromedp.Value(chromedp.CSS("#connection"))), "ready to be connected")
	})
}

// forgetFlows has the store forget what was begun, as it does after ten minutes.
func forgetFlows(t *testing.T, p *proxy) {
	t.Helper()
	flows, err := filepath.Glob(filepath.Join(p.dir, "data", "caddy", "pleo", "*", "flows", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, flows)
	for _, flow := range flows {
		require.NoError(t, os.Remove(flow))
	}
}

func TestThePagesCanBeReadByEverybody(t *testing.T) {
	t.Parallel()
	e, p, c := startPages(t)
	long := strings.Repeat("W", 128)
	e.authorise(t, p, "initech", company(2))
	require.Positive(t, e.Revoke(pleotest.Target{}))
	require.Equal(t, http.StatusUnauthorized, get(t, p.URL+"/v2/employees", on("initech")).status)
	for i, connection := range []string{"acme", "default", "umbrella", "globex"} {
		e.authorise(t, p, connection, company(i%2))
	}
	require.Equal(t, http.StatusNoContent, p.admin(t, http.MethodDelete, "/pleo/connections/umbrella", "", nil).status)

	b := c.person(t)
	pages := []struct {
		name, heading string
		open          func() (int, string)
	}{
		{"connections", "200 Connections", func() (int, string) { return b.open(p.URL + statusPath) }},
		{"nothing found", "404 Connections", func() (int, string) { return b.open(p.URL + statusPath + "?find=nobody") }},
		{"not a name", "400 Connections", func() (int, string) {
			b.open(p.URL + statusPath)
			b.fill("#connection", "a/b")
			return b.click("form[method=post] button")
		}},
		{"disconnect", "200 Disconnect acme?", func() (int, string) { return b.open(p.URL + statusPath + "?disconnect=acme") }},
		{"disconnect, long", "200 Disconnect " + long + "?", func() (int, string) { return b.open(p.URL + statusPath + "?disconnect=" + long) }},
		{"connections, long", "200 Connections", func() (int, string) { return b.open(p.URL + statusPath) }},
		{"link not usable", "400 This link cannot be used", func() (int, string) { return b.open(p.redirectURI() + "?state=x&code=y") }},
		{"denied", "403 Not authorised", func() (int, string) {
			b.open(p.origin() + "/pleo/authorise?connection=acme")
			return b.consent(company(0), "deny")
		}},
		{"connected", "200 Connected", func() (int, string) {
			b.open(p.origin() + "/pleo/authorise?connection=" + url.QueryEscape(long))
			return b.consent(company(0), "approve")
		}},
	}
	for _, scheme := range []string{"light", "dark"} {
		if scheme == "dark" {
			b.screen(320, 640, "dark")
		} else {
			b.open(p.URL + statusPath)
			b.screen(1120, 880, "light")
			b.picture("connections")
			b.screen(390, 844, "dark")
			b.picture("connections-phone")
			b.screen(1120, 720, "light")
			e.authorise(t, p, long, company(0))
		}
		for _, page := range pages {
			requireShown(t, page.heading)(page.open())
			b.requireAccessible(page.name + ", " + scheme)
		}
	}
}
