package docs_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// execStandIn takes the place of a plugin that a document names.
type execStandIn struct {
	Command []string `json:"command"`
}

func init() { caddy.RegisterModule(execStandIn{}) }

func (execStandIn) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.exec", New: func() caddy.Module { return new(execStandIn) }}
}

func (e *execStandIn) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	e.Command = d.RemainingArgs()
	return nil
}

func (*execStandIn) Handle(context.Context, caddy.Event) error { return nil }

func TestTheMessageIsOneThatTheProxySendsAndTheLibraryVerifies(t *testing.T) {
	page := read(t, "notices.md")
	text := strings.TrimSpace(commented(t, "webhook"))
	head, body, ok := strings.Cut(text, "\n\n")
	require.True(t, ok)
	req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(strings.ReplaceAll(head, "\n", "\r\n") + "\r\n\r\n")))
	require.NoError(t, err)
	require.Regexp(t, "example's secret is `(whsec_[^`]*)`", page)
	require.NoError(t, verifier.VerifyIgnoringTimestamp([]byte(body), req.Header))

	sent := tellOfAnEnd(t, documentedEnd)
	for name := range req.Header {
		require.NotEmpty(t, sent.header.Get(name), name)
	}
	var documented, actual map[string]any
	require.NoError(t, json.Unmarshal([]byte(body), &documented))
	require.NoError(t, json.Unmarshal(sent.body, &actual))
	at, ok := actual["timestamp"].(string)
	require.True(t, ok)
	_, err = time.Parse(time.RFC3339Nano, at)
	require.NoError(t, err)
	actual["timestamp"] = documented["timestamp"]
	require.Equal(t, documented, actual)
}

// documentedEnd is the record that the documented message is about.
var documentedEnd = pleoauth.Record{
	Issuer: "https://auth.pleo.io", ClientID: "acme", Seq: 1, Generation: 1, Version: "version",
	State: pleoauth.StateReauthorisationRequired, Reason: pleoauth.ReasonRevokedOrExpired,
	Subject: "urn:pleo:company:5cb47ae2-6f4b-4ba6-9a5c-2f5d8b2c1f00",
}

type sentMessage struct {
	header http.Header
	body   []byte
}

// tellOfAnEnd has a connection's grant end, and returns the message about it.
func tellOfAnEnd(t *testing.T, end pleoauth.Record) sentMessage {
	t.Helper()
	got := make(chan sentMessage, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- sentMessage{r.Header, body}
	}))
	defer server.Close()
	dir := t.TempDir()
	id := pleoauth.Identity{Issuer: end.Issuer, ClientID: end.ClientID}
	store, err := certstore.New(&certmagic.FileStorage{Path: dir}, dir, id)
	require.NoError(t, err)
	defer store.Close()
	worker := webhook.New(id, store, nil)
	defer worker.Close(t.Context())
	worker.Note(true)
	require.NoError(t, worker.Configure(&webhook.Config{
		URL: server.URL, Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, After: time.Millisecond,
		AuthoriseURI: func(name string) string { return "https://integration.example.com/pleo/authorise?connection=" + name },
	}))
	old, err := store.Read(t.Context(), "customer-42")
	require.NoError(t, err)
	_, err = store.Swap(t.Context(), "customer-42", old, end, pleoauth.SwapOptions{})
	require.NoError(t, err)
	select {
	case m := <-got:
		return m
	case <-time.After(20 * time.Second):
		require.FailNow(t, "no message comes")
		return sentMessage{}
	}
}

func TestEachEventIsDocumented(t *testing.T) {
	page := read(t, "notices.md")
	for _, kind := range webhook.Kinds() {
		require.Contains(t, page, "| `"+string(kind)+"` |")
		require.Contains(t, page, "`pleo."+string(kind)+"`")
	}
	for name, d := range map[string]time.Duration{"after": webhook.DefaultAfter, "timeout": webhook.DefaultTimeout} {
		m := regexp.MustCompile("(?m)^\\| `" + name + "` .* `([0-9a-z]+)` \\|$").FindStringSubmatch(page)
		require.NotNil(t, m, name)
		actual, err := caddy.ParseDuration(m[1])
		require.NoError(t, err)
		require.Equal(t, d, actual)
	}
}
