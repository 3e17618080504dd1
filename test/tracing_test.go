package test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// traces is what a proxy has exported by OTLP over HTTP.
type traces struct {
	URL string

	mu    sync.Mutex
	raw   []byte
	spans map[string][]*otlp.Span // by trace
}

func collectTraces(t *testing.T) *traces {
	t.Helper()
	c := &traces{spans: map[string][]*otlp.Span{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var export collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &export) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.raw = append(c.raw, body...)
		for _, resource := range export.GetResourceSpans() {
			for _, scope := range resource.GetScopeSpans() {
				for _, s := range scope.GetSpans() {
					id := hex.EncodeToString(s.GetTraceId())
					c.spans[id] = append(c.spans[id], s)
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// of waits for the spans of a trace, of which the one with the given name ends
// last, and returns them by name.
func (c *traces) of(t *testing.T, trace, last string) map[string]*otlp.Span {
	t.Helper()
	found := map[string]*otlp.Span{}
	require.Eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, s := range c.spans[trace] {
			found[s.GetName()] = s
		}
		return found[last] != nil
	}, patience, tick)
	return found
}

// attribute returns a span's attribute, or nothing.
func attribute(s *otlp.Span, key string) *common.AnyValue {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == key {
			return a.GetValue()
		}
	}
	return nil
}

func TestATracedCallShowsItsWaitForATokenItsRefreshAndItsRepetitionAndNoToken(t *testing.T) {
	t.Parallel()
	e, c := startPleo(t, pleotest.WithAccessTokenLife(3*time.Second)), collectTraces(t)
	p := startProxy(t, e, config{
		site: "tracing {\n\t\tspan call\n\t}",
		env: []string{
			"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_BSP_SCHEDULE_DELAY=20",
		},
	})
	e.authorise(t, p, "acme", company(0))
	callFor := func(connection, id string) answer {
		t.Helper()
		return get(t, p.URL+"/v2/employees", on(connection), withHeader("Traceparent", "00-"+id+"-00f067aa0ba902b7-01"))
	}
	call := func(id string) answer { return callFor("acme", id) }
	trace := func(n int) string { return fmt.Sprintf("%032x", n) }

	// The token has expired: the call waits for the refresh that it starts.
	e.awaitExpiry(t)
	e.SetAccessTokenLife(15 * time.Minute)
	require.Equal(t, 200, call(trace(1)).status)
	waited := c.of(t, trace(1), "call")
	require.Len(t, waited, 3)
	requireChild(t, waited, "call", "pleo.token")
	requireChild(t, waited, "pleo.token", "pleo.refresh")
	require.Equal(t, "acme", attribute(waited["pleo.token"], "pleo.connection").GetStringValue())
	require.True(t, attribute(waited["pleo.refresh"], "pleo.sent").GetBoolValue())
	require.Positive(t, attribute(waited["pleo.refresh"], "pleo.generation").GetIntValue())

	// A token from memory is nothing to tell of.
	require.Equal(t, 200, call(trace(2)).status)
	require.Len(t, c.of(t, trace(2), "call"), 1)

	// Pleo refuses the token: it is asked, the token is refreshed, the call sent again.
	require.Equal(t, 1, e.Revoke(pleotest.Target{Kind: pleotest.AccessToken}))
	require.Equal(t, 200, call(trace(3)).status)
	repeated := c.of(t, trace(3), "call")
	require.Len(t, repeated, 5)
	requireChild(t, repeated, "call", "pleo.refused")
	requireChild(t, repeated, "pleo.refused", "pleo.token")
	requireChild(t, repeated, "pleo.token", "pleo.refresh")
	requireChild(t, repeated, "call", "pleo.repeat")
	require.EqualValues(t, 200, attribute(repeated["pleo.repeat"], "http.response.status_code").GetIntValue())

	// The grant has ended: the spans say so, in the words of the answer.
	e.authorise(t, p, "umbrella", company(1))
	e.Revoke(pleotest.Target{Company: company(1).ID})
	requireProblem(t, callFor("umbrella", trace(4)), 401, "reauthorisation-required")
	ended := c.of(t, trace(4), "call")
	require.Equal(t, otlp.Status_STATUS_CODE_ERROR, ended["pleo.token"].GetStatus().GetCode())
	require.Equal(t, "reauthorisation-required", attribute(ended["pleo.token"], "error.type").GetStringValue())
	require.Nil(t, ended["pleo.repeat"])

	c.mu.Lock()
	defer c.mu.Unlock()
	require.NotEmpty(t, e.Secrets())
	for _, secret := range e.Secrets() {
		require.NotContains(t, string(c.raw), secret)
	}
}

func requireChild(t *testing.T, spans map[string]*otlp.Span, parent, child string) {
	t.Helper()
	require.Contains(t, spans, parent)
	require.Contains(t, spans, child)
	require.Equal(t, spans[parent].GetSpanId(), spans[child].GetParentSpanId(), "%s is not below %s", child, parent)
}
