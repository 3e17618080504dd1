package test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// oddAnswers hold the whole pair, in a form that no server should send.
var oddAnswers = map[string]pleotest.Fault{
	"chunked without the last chunk, FIN":   {Transfer: pleotest.NoLastChunk},
	"chunked without the last chunk, RST":   {Transfer: pleotest.NoLastChunk, Reset: true},
	"Content-Length one too large, FIN":     {Transfer: pleotest.LengthTooLarge},
	"Content-Length one too large, RST":     {Transfer: pleotest.LengthTooLarge, Reset: true},
	"no length, FIN":                        {Transfer: pleotest.NoLength},
	"no length, RST":                        {Transfer: pleotest.NoLength, Reset: true},
	"gzip":                                  {Gzip: true},
	"gzip, chunked without the last chunk":  {Gzip: true, Transfer: pleotest.NoLastChunk},
	"a byte order mark before the object":   {Prefix: "\ufeff"},
	"white space before the object":         {Prefix: "\r\n\t "},
	"a comment after the object":            {Suffix: "<!-- cached -->"},
	"a second object after the object":      {Suffix: `{"error":"server_error"}`},
	"bytes after the object":                {Suffix: "\x00\xff\xfe"},
	"a line feed after the access token":    {Pad: map[string]pleotest.Padding{"access_token": {After: "\n"}}},
	"white space around both tokens":        {Pad: map[string]pleotest.Padding{"access_token": {Before: " ", After: "\r\n"}, "refresh_token": {Before: "\t", After: "\n"}}},
	"a byte order mark, bytes after, a RST": {Prefix: "\ufeff", Suffix: "\n--", Transfer: pleotest.NoLength, Reset: true},
}

func TestFaultAPairThatArrivesWholeInAnOddAnswerIsUsed(t *testing.T) {
	t.Parallel()
	const row = "the whole pair in an odd answer"
	e := startPleo(t)
	p := startProxy(t, e, onRedis(redistest.Start(t)))
	var used int
	for name, fault := range oddAnswers {
		connection := fmt.Sprint("odd-", used)
		e.authorise(t, p, connection, company(0))
		fault.Endpoint, fault.GrantType = pleotest.Token, pleotest.RefreshToken
		e.ResetCounters()
		odd := e.Fault(fault)

		a := p.admin(t, http.MethodPost, "/pleo/connections/"+connection+"/refresh", "", nil)
		require.Equal(t, http.StatusOK, a.status, "%s: %s", name, a.body)
		require.Equal(t, 1, odd.Hits(), name)
		p.employees(t, on(connection))
		p.refresh(t, connection) // the refresh token is right, too
		p.employees(t, on(connection))
		require.Equal(t, 2, e.Counters().RefreshRequests, name)
		require.Zero(t, e.Counters().DeadTokenCalls, name)
		used++
	}
	figure(t, row, "answers", len(oddAnswers))
	figure(t, row, "pairs in use", used)
}

// A code is exchanged once, and its answer read as a refresh's is.
func TestAFirstPairThatArrivesWholeInAnOddAnswerIsUsed(t *testing.T) {
	t.Parallel()
	e := startPleo(t)
	p := startProxy(t, e, onRedis(redistest.Start(t)))
	var used int
	for name, fault := range oddAnswers {
		t.Log(name)
		fault.Endpoint, fault.GrantType = pleotest.Token, pleotest.AuthorizationCode
		e.Fault(fault)
		connection := fmt.Sprint("odd-", used)
		e.authorise(t, p, connection, company(0))
		p.employees(t, on(connection))
		p.refresh(t, connection)
		used++
	}
}
