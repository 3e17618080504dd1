package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// said is what a command wrote, and how it ended.
type said struct {
	code        int
	out, errors string
}

// command runs `pleo-auth-proxy pleo …` where a user of this proxy would.
func (p *proxy) command(t *testing.T, args ...string) said {
	t.Helper()
	return p.program(t, append([]string{"pleo"}, args...)...)
}

func (p *proxy) program(t *testing.T, args ...string) said {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), proxyBinary, args...)
	cmd.Env, cmd.SysProcAttr = append(p.env, "CADDY_ADMIN=unix/"+p.adminSocket()), endWithParent()
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return said{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// json runs a command with --json, which has to succeed.
func (p *proxy) json(t *testing.T, into any, args ...string) {
	t.Helper()
	s := p.command(t, append(args, "--json")...)
	require.Zero(t, s.code, s.errors)
	require.Empty(t, s.errors)
	require.NoError(t, json.Unmarshal([]byte(s.out), into), s.out)
}

type listed struct {
	Connections []pleoauth.ConnectionInfo
}

// ended returns the name of the nth connection that is not connected.
func ended(n int) string { return fmt.Sprintf("customer-%04d", n) }

// seed puts records of ended authorisations into a store, which any process
// with the same identity may have written.
func seed(t *testing.T, store pleoauth.Store, id pleoauth.Identity, count int) {
	t.Helper()
	for i := range count {
		snap, err := store.Read(t.Context(), ended(i))
		require.NoError(t, err)
		_, err = store.Swap(t.Context(), ended(i), snap, pleoauth.Record{
			Issuer: id.Issuer, ClientID: id.ClientID, Seq: 1, Generation: 3, Version: fmt.Sprint(i),
			State: pleoauth.StateReauthorisationRequired, Reason: pleoauth.ReasonRevokedOrExpired,
			Subject: fmt.Sprintf("urn:pleo:company:%04d", i),
		}, pleoauth.SwapOptions{})
		require.NoError(t, err)
	}
	require.NoError(t, store.Close())
}

func (e *pleo) identity() pleoauth.Identity {
	return pleoauth.Identity{Issuer: e.AuthURL, ClientID: e.ClientID}
}

func TestTheCommandLineWorksOnAThousandConnections(t *testing.T) {
	t.Parallel()
	e, r := startPleo(t), redistest.Start(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "acme", company(0))
	options, err := redisstore.ParseURL(r.URL())
	require.NoError(t, err)
	store, err := redisstore.New(options, e.identity())
	require.NoError(t, err)
	const others = 1000
	seed(t, store, e.identity(), others)

	var all listed
	start := time.Now()
	p.json(t, &all, "connections")
	require.Len(t, all.Connections, others+1)
	require.Less(t, time.Since(start), patience)
	seen := map[string]bool{}
	for _, c := range all.Connections {
		seen[c.Name] = true
	}
	require.Len(t, seen, others+1, "each is listed once")

	table := p.command(t, "connections")
	require.Zero(t, table.code, table.errors)
	lines := strings.Split(strings.TrimSpace(table.out), "\n")
	require.Len(t, lines, others+2)
	require.Equal(t, []string{"NAME", "STATE", "TOKEN", "UNTIL", "COMPANY", "NOTE"}, strings.Fields(lines[0]))
	require.Contains(t, table.out, company(0).URN())
	for _, line := range lines[1:] { // columns stand under their heads
		require.Equal(t, strings.Index(lines[0], "STATE"), len(line)-len(strings.TrimLeft(line[len(strings.Fields(line)[0]):], " ")), line)
	}

	var connected listed
	p.json(t, &connected, "connections", "--state", "connected")
	require.Len(t, connected.Connections, 1)
	require.Equal(t, "acme", connected.Connections[0].Name)

	// A shell completes names by asking the proxy.
	names := p.program(t, "__complete", "pleo", "show", "customer-099")
	require.Len(t, strings.Fields(strings.Split(names.out, ":")[0]), 10, names.out)
	states := p.program(t, "__complete", "pleo", "connections", "--state", "re")
	require.Contains(t, states.out, "reauthorisation_required")
	require.Contains(t, p.program(t, "completion", "bash").out, "pleo-auth-proxy")
}

func TestTheCommandLineShowsRefreshesAndDisconnects(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, config{}) // store caddy
	e.authorise(t, p, "acme", company(1))
	data := filepath.Join(p.dir, "data", "caddy")
	store, err := certstore.New(&certmagic.FileStorage{Path: data}, filepath.Join(data, "pleo", "locks"), e.identity())
	require.NoError(t, err)
	seed(t, store, e.identity(), 20)

	var all listed
	p.json(t, &all, "connections")
	require.Len(t, all.Connections, 21)

	var before, after pleoauth.ConnectionInfo
	p.json(t, &before, "show", "acme")
	require.Equal(t, pleoauth.StateConnected, before.State)
	shown := p.command(t, "show", "acme")
	require.Regexp(t, `(?m)^company: +`+company(1).URN()+`$`, shown.out)
	refreshed := p.command(t, "refresh", "acme")
	require.Zero(t, refreshed.code, refreshed.errors)
	p.json(t, &after, "refresh", "acme")
	require.Equal(t, before.Generation+2, after.Generation)
	require.Equal(t, 2, e.Counters().Refreshes)

	// The same by the configuration's admin address.
	byConfig := p.program(t, "pleo", "show", "acme", "--config", p.caddyfile(), "--adapter", "caddyfile")
	require.Zero(t, byConfig.code, byConfig.errors)

	gone := p.command(t, "disconnect", "acme")
	require.Zero(t, gone.code, gone.errors)
	require.Equal(t, "acme is disconnected.\n", gone.out)
	requireProblem(t, get(t, p.URL+"/v2/employees", on("acme")), http.StatusUnauthorized, "not-connected")
	var doc map[string]string
	p.json(t, &doc, "disconnect", "acme")
	require.Equal(t, map[string]string{"name": "acme", "state": "disconnected"}, doc)
	for _, s := range []said{shown, refreshed, byConfig, gone} {
		for _, secret := range e.Secrets() {
			require.NotContains(t, s.out+s.errors, secret)
		}
	}
}

func TestErrorsOfTheCommandLineSayWhatToDoAndHaveExitCodes(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	// Before a grant counts as ended, a replica with a newer one gets a second to say so:
	// `refresh` waits for longer than that.
	p := startProxy(t, e, config{site: "pleo_api", options: "refresh_timeout 2s"})
	e.authorise(t, p, "acme", company(0))
	e.authorise(t, p, "umbrella", company(1))
	e.Revoke(pleotest.Target{Company: company(1).ID})

	for _, c := range []struct {
		code int
		args []string
		says []string
	}{
		{1, []string{"show"}, []string{"accepts 1 arg"}},
		{1, []string{"show", "a/b"}, []string{"invalid connection name"}},
		{1, []string{"show", "acme", "--jsno"}, []string{"unknown flag: --jsno"}},
		{1, []string{"show", "acme", "--address", "nowhere:1-9"}, []string{"not an address"}},
		{1, []string{"authorise-url", "acme", "--return-to", "https://evil.example"}, []string{"return_to_origins"}},
		{1, []string{"authorise-url", "acme", "--subject", "acme"}, []string{"urn:pleo:company"}},
		{3, []string{"connections", "--address", "127.0.0.1:1"}, []string{"no proxy answers at 127.0.0.1:1", "--address"}},
		{3, []string{"connections", "--address", "unix/" + p.dir + "/none.sock"}, []string{"none.sock", "Is it running?"}},
		{4, []string{"show", "nobody"}, []string{"nobody", "pleo authorise-url nobody"}},
		{4, []string{"disconnect", "Acme"}, []string{"case"}},
		{5, []string{"refresh", "umbrella"}, []string{"umbrella", "pleo authorise-url umbrella"}},
		{0, []string{"connections", "--address", p.URL}, nil},
		{4, []string{"show", "nobody", "--address", p.URL + "/"}, []string{"nobody"}},
	} {
		s := p.command(t, c.args...)
		require.Equal(t, c.code, s.code, "%v: %s%s", c.args, s.out, s.errors)
		for _, says := range c.says {
			require.Contains(t, s.errors, says, c.args)
		}
		if c.code != 0 {
			require.Empty(t, s.out, c.args)
			require.Equal(t, 1, strings.Count(s.errors, "Error:"), s.errors)
		}
	}

	// Pleo does not answer: it is worth trying again.
	e.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.RefreshToken, Status: 503, Process: pleotest.NotProcessed, Times: pleotest.Always})
	s := p.command(t, "refresh", "acme")
	require.Equal(t, 6, s.code, s.errors)
	require.Contains(t, s.errors, "Try again")
}
