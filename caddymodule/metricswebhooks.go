package caddymodule

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

func newWebhookCounter() *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "pleo_webhook_deliveries_total",
		Help: "Attempts to post a webhook, by event and result.",
	}, []string{"event", "result"})
	for _, kind := range webhook.Kinds() {
		for _, result := range webhook.Results() {
			c.WithLabelValues(string(kind), string(result))
		}
	}
	return c
}

// webhook counts an attempt to post a message.
func (m *processMetrics) webhook(kind webhook.Kind, result webhook.Result) {
	m.webhooks.WithLabelValues(string(kind), string(result)).Inc()
}
