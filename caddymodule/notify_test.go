package caddymodule_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// eventRecorder is a handler of Caddy's events, of which it keeps those of pleo.
type eventRecorder struct {
	Name string `json:"name,omitempty"`
}

var recordedEvents = struct {
	sync.Mutex
	all []string
}{}

func init() { caddy.RegisterModule(eventRecorder{}) }

func (eventRecorder) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "events.handlers.pleo_test_recorder", New: func() caddy.Module { return new(eventRecorder) }}
}

func (r *eventRecorder) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next()
	d.AllArgs(&r.Name)
	return nil
}

func (r *eventRecorder) Handle(_ context.Context, e caddy.Event) error {
	recordedEvents.Lock()
	defer recordedEvents.Unlock()
	recordedEvents.all = append(recordedEvents.all, fmt.Sprintf("%s: %s %v %v", r.Name, e.Name(), e.Data["connection"], e.Data["state"]))
	return nil
}

func takeEvents() []string {
	recordedEvents.Lock()
	defer recordedEvents.Unlock()
	return append([]string(nil), recordedEvents.all...)
}

var _ caddyevents.Handler = (*eventRecorder)(nil)

// webhooks is a receiver, and what it has got and verified.
type webhooks struct {
	*httptest.Server
	mu  sync.Mutex
	got []map[string]any
}

func receiveWebhooks(t *testing.T) *webhooks {
	t.Helper()
	r := &webhooks{}
	verifier, err := standardwebhooks.NewWebhook(webhookSecret)
	require.NoError(t, err)
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || verifier.Verify(body, req.Header) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		var message map[string]any
		_ = json.Unmarshal(body, &message)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.got = append(r.got, message)
	}))
	t.Cleanup(r.Close)
	return r
}

// kinds returns the type and connection of each message.
func (r *webhooks) kinds() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	kinds := []string{}
	for _, m := range r.got {
		data, _ := m["data"].(map[string]any)
		kinds = append(kinds, fmt.Sprintf("%v %v", m["type"], data["connection"]))
	}
	return kinds
}

func (r *webhooks) expect(t *testing.T, kinds ...string) {
	t.Helper()
	eventually(t, func() bool { return len(r.kinds()) >= len(kinds) }, "messages")
	require.Equal(t, kinds, r.kinds())
}

func notifyOption(url string) string {
	return "notify " + url + "/hook {\n\t\t\tsecret {env.TEST_WEBHOOK_SECRET}\n\t\t\tafter 1s\n\t\t}"
}

func TestWebhooksAndEventsTellWhatBecomesOfAConnection(t *testing.T) {
	w := newWorld(t)
	r := receiveWebhooks(t)
	t.Setenv("TEST_WEBHOOK_SECRET", webhookSecret)
	before := len(takeEvents())
	config := "{\n\tevents {\n\t\ton pleo.connected pleo_test_recorder c\n\t\ton pleo.reauthorisation_required pleo_test_recorder r\n\t}\n" + w.caddyfile(notifyOption(r.URL), "", "")[2:]
	require.NoError(t, load(t, config))

	w.connect("acme", "")
	r.expect(t, "connected acme")
	eventually(t, func() bool {
		return w.samples()[`pleo_webhook_deliveries_total{event="connected",result="delivered"}`] > 0
	}, "the metric")
	require.Equal(t, http.StatusOK, w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme").StatusCode)
	w.pleo.Revoke(pleotest.Target{})
	w.problem(w.call(http.MethodGet, "/v2/employees", nil, "Pleo-Connection: acme"), 401, "reauthorisation-required")
	r.expect(t, "connected acme", "reauthorisation_required acme")
	data, _ := r.got[1]["data"].(map[string]any)
	require.Equal(t, "revoked_or_expired", data["reason"])
	require.Equal(t, "http://"+w.browser+"/pleo/authorise?connection=acme", data["authorise_uri"])
	require.Regexp(t, "^urn:pleo:company:", data["subject"])
	eventually(t, func() bool { return len(takeEvents()) >= before+2 }, "events")
	require.Equal(t, []string{"c: pleo.connected acme connected", "r: pleo.reauthorisation_required acme reauthorisation_required"}, takeEvents()[before:])

	saved, err := os.ReadFile(caddy.ConfigAutosavePath)
	require.NoError(t, err)
	require.Contains(t, string(saved), "TEST_WEBHOOK_SECRET")
	for _, file := range []string{caddy.ConfigAutosavePath, w.log} {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		require.NotContains(t, string(content), webhookSecret)
		if file == w.log {
			require.NotContains(t, string(content), "/hook\"", "a URL may be secret, too")
		}
	}
}

func TestAReloadTellsTheNewReceiverAndARefusedOneTheOld(t *testing.T) {
	w := newWorld(t)
	first, second := receiveWebhooks(t), receiveWebhooks(t)
	t.Setenv("TEST_WEBHOOK_SECRET", webhookSecret)
	w.start(notifyOption(first.URL), "", "")
	w.connect("one", "")
	first.expect(t, "connected one")

	// Something else of this configuration cannot start.
	broken := w.caddyfile(notifyOption(second.URL), "", "http://"+first.Listener.Addr().String()+" {\n\trespond ok\n}")
	require.Error(t, load(t, broken))
	w.connect("two", "")
	first.expect(t, "connected one", "connected two")

	w.start(notifyOption(second.URL), "", "")
	w.connect("three", "")
	second.expect(t, "connected three")

	w.start("", "", "")
	w.connect("four", "")
	w.start(notifyOption(second.URL), "", "")
	w.connect("five", "")
	second.expect(t, "connected three", "connected five")
	first.expect(t, "connected one", "connected two")
}

func TestAWebhookThatHangsDoesNotKeepTheProcess(t *testing.T) {
	w := newWorld(t)
	reached, release := make(chan struct{}), make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(reached)
		<-release
	}))
	defer hanging.Close()
	defer close(release)
	t.Setenv("TEST_WEBHOOK_SECRET", webhookSecret)
	w.start(notifyOption(hanging.URL), "", "")
	w.connect("acme", "")
	<-reached
	began := time.Now()
	require.NoError(t, caddy.Stop())
	require.Less(t, time.Since(began), 10*time.Second)
	r := receiveWebhooks(t)
	w.start(notifyOption(r.URL), "", "")
	r.expect(t, "connected acme")
}

func TestNotifyNeedsSecretsThatAreThere(t *testing.T) {
	w := newWorld(t)
	require.ErrorContains(t, load(t, w.caddyfile("notify https://app.example.com/hook {\n\t\t\tsecret {env.TEST_NO_SUCH_SECRET}\n\t\t}", "", "")), "notify: secret")
	t.Setenv("TEST_WEBHOOK_SECRET", "whsec_short")
	require.ErrorContains(t, load(t, w.caddyfile("notify https://app.example.com/hook {\n\t\t\tsecret {env.TEST_WEBHOOK_SECRET}\n\t\t}", "", "")), "notify: ")
	require.NoFileExists(t, filepath.Join(w.dir, "storage", "pleo"))
}
