package caddymodule_test

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// link has the admin endpoint make a one-time link.
func (w *world) link(connection, body string) string {
	w.t.Helper()
	res := w.send(http.MethodPost, "http://"+w.admin+"/pleo/connections/"+connection+"/authorise-url", body)
	require.Equal(w.t, http.StatusOK, res.StatusCode, res.body)
	doc := res.json(w.t)
	require.Equal(w.t, connection, doc["connection"])
	require.EqualValues(w.t, 900, doc["expires_in"])
	link, _ := doc["url"].(string)
	require.True(w.t, strings.HasPrefix(link, w.authoriseURL("")), link)
	return link
}

func ticketOf(t *testing.T, link string) string {
	t.Helper()
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.NotEmpty(t, u.Query().Get("ticket"))
	return u.Query().Get("ticket")
}

// follow opens a link and approves, and returns where the browser is sent.
func (w *world) follow(browser *http.Client, link, company string) string {
	w.t.Helper()
	res := get(w.t, browser, link)
	require.Equal(w.t, http.StatusFound, res.StatusCode, res.body)
	requireBrowserHeaders(w.t, res)
	back, err := w.pleo.Approve(res.Header.Get("Location"), company)
	require.NoError(w.t, err)
	return back
}

// stored are the files of flows and tickets.
func (w *world) stored() []string {
	files, _ := filepath.Glob(filepath.Join(w.dir, "storage", "pleo", "*", "flows", "*"))
	return files
}

func TestWithRequireTicketOnlyAOneTimeLinkStartsAnAuthorisation(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "")
	refuse := func(link string) {
		t.Helper()
		browser := newBrowser(t)
		before := w.stored()
		res := get(t, browser, link)
		requirePage(t, res, http.StatusForbidden)
		require.Contains(t, res.body, "Go back to where you came from", "what to do")
		require.NotContains(t, res.body, "Start again", "there is no link that would work")
		require.Empty(t, res.Cookies())
		require.Equal(t, before, w.stored(), "nothing is started")
	}
	refuse(w.authoriseURL(""))
	refuse(w.authoriseURL("connection=acme&return_to=/x"))
	refuse(w.authoriseURL("connection=acme&ticket="))
	refuse(w.authoriseURL("connection=acme&ticket=made-up"))

	link := w.link("acme", `{"return_to":"/settings"}`)
	refuse(link + "x")
	refuse(strings.Replace(link, "connection=acme", "connection=umbrella", 1))
	refuse(link + "&return_to=/elsewhere")
	refuse(link + "&subject=" + url.QueryEscape(pleotest.Companies()[0].URN()))
	requirePage(t, get(t, newBrowser(t), link+"&ticket="+ticketOf(t, link)), http.StatusBadRequest)
	requirePage(t, get(t, newBrowser(t), strings.Replace(link, "connection=acme", "connection=", 1)), http.StatusBadRequest)

	browser := newBrowser(t)
	done := get(t, browser, w.follow(browser, link+"&return_to=/settings", ""))
	require.Equal(t, "/settings?pleo=connected", done.Header.Get("Location"))
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	refuse(link)
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: umbrella"), 401, "not-connected")
}

func TestALinkPreviewDoesNotUseALinkUp(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "")
	link := w.link("acme", "")
	for range 3 {
		res := w.send(http.MethodHead, link, "")
		require.Equal(t, http.StatusOK, res.StatusCode)
		require.Empty(t, res.Header.Get("Location"))
		require.Equal(t, http.StatusFound, get(t, newBrowser(t), link).StatusCode, "as a preview by GET would")
	}
	browser := newBrowser(t)
	require.Equal(t, http.StatusFound, get(t, browser, link).StatusCode, "the user clicks twice")
	back := w.follow(browser, link, "")
	attacker := newBrowser(t)
	require.Equal(t, http.StatusFound, get(t, attacker, link).StatusCode)
	requirePage(t, get(t, attacker, back), http.StatusForbidden)
	requirePage(t, get(t, browser, back), http.StatusOK)
}

func TestOfTwoTabsWithOneLinkOneConnects(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "")
	link := w.link("acme", "")
	browser, other := newBrowser(t), newBrowser(t)
	first, second := w.follow(browser, link, ""), w.follow(browser, link, "")
	replayed := w.follow(other, link, pleotest.Companies()[1].ID)
	requirePage(t, get(t, browser, second), http.StatusOK)
	for _, late := range []struct {
		browser *http.Client
		back    string
	}{{browser, first}, {other, replayed}} {
		res := get(t, late.browser, late.back)
		requirePage(t, res, http.StatusForbidden)
		require.Contains(t, res.body, "This link cannot be used")
	}
	require.Equal(t, 1, w.pleo.Counters().ExchangeRequests, "the other codes are not even sent")
	info := w.adminCall(http.MethodGet, "/pleo/connections/acme").json(t)
	require.Equal(t, pleotest.Companies()[0].URN(), info["subject"])
}

func TestALinkServesUntilItHasWorked(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "")
	companies := pleotest.Companies()
	link := w.link("acme", `{"subject":"`+companies[1].URN()+`"}`)
	browser := newBrowser(t)
	denied, err := w.pleo.Deny(get(t, browser, link).Header.Get("Location"))
	require.NoError(t, err)
	res := get(t, browser, denied)
	requirePage(t, res, http.StatusForbidden)
	require.NotContains(t, res.body, "Start again")
	requirePage(t, get(t, browser, w.follow(browser, link, companies[0].ID)), http.StatusConflict)
	requirePage(t, get(t, browser, w.follow(browser, link, companies[1].ID)), http.StatusOK)
	requirePage(t, get(t, browser, link), http.StatusForbidden)
}

func TestALinkWorksWhereNoneIsRequired(t *testing.T) {
	w := newWorld(t)
	w.start("", "", "")
	link := w.link("acme", "")
	browser := newBrowser(t)
	requirePage(t, get(t, browser, w.follow(browser, link, "")), http.StatusOK)
	requirePage(t, get(t, browser, link), http.StatusForbidden)
	w.connect("acme", "")
}

func TestWithoutAStoreALinkIsNotToBlame(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "")
	link := w.link("acme", "")
	storage := filepath.Join(w.dir, "storage")
	require.NoError(t, os.Rename(storage, storage+"-away"))
	require.NoError(t, os.WriteFile(storage, nil, 0o600))
	requirePage(t, get(t, newBrowser(t), link), http.StatusServiceUnavailable)
	require.NoError(t, os.Remove(storage))
	require.NoError(t, os.Rename(storage+"-away", storage))
	browser := newBrowser(t)
	requirePage(t, get(t, browser, w.follow(browser, link, "")), http.StatusOK)
}

func TestATicketIsInNoLogAndNoFile(t *testing.T) {
	w := newWorld(t)
	w.start("require_ticket", "", "http://"+freeAddresses(t, 1)[0]+" {\n\tlog\n\tpleo_api\n}\n")
	var secrets []string
	for _, connection := range []string{"a", "b", "c", "d", "e", "f"} {
		link := w.link(connection, "")
		browser := newBrowser(t)
		back := w.follow(browser, link, "")
		state, err := url.Parse(back)
		require.NoError(t, err)
		secrets = append(secrets, ticketOf(t, link), state.Query().Get("state"))
		if connection < "c" {
			requirePage(t, get(t, browser, back), http.StatusOK)
		}
		get(t, newBrowser(t), link)
		get(t, newBrowser(t), link+"&connection=x")
		get(t, newBrowser(t), strings.Replace(link, "connection="+connection, "connection=x", 1))
		w.send(http.MethodPost, link, "")
	}
	secrets = append(secrets, w.pleo.Secrets()...)
	require.NoError(t, filepath.Walk(w.dir, func(path string, info os.FileInfo, err error) error {
		require.NoError(t, err)
		if info.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		require.NoError(t, err)
		requireNoSecrets(t, string(content), secrets)
		return nil
	}))
	logged, err := os.ReadFile(w.log)
	require.NoError(t, err)
	require.Contains(t, string(logged), "a one-time link was made")
	require.Contains(t, string(logged), "a one-time link was refused")
}
