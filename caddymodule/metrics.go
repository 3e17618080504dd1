package caddymodule

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// metrics are the process's: made once and registered with each configuration,
// whose registry is a new one, so that a reload goes on counting.
var metrics = newProcessMetrics()

// processMetrics are described in docs/metrics.md. Labels have values from fixed
// sets alone, all of which are there from the start: what has never happened
// shows as 0, so that its first time is an increase.
type processMetrics struct {
	calls          callCounters
	hits           stripes
	misses         *prometheus.CounterVec
	refusals       *prometheus.CounterVec
	refreshes      *prometheus.CounterVec
	refreshSeconds prometheus.Histogram
	settles        *prometheus.CounterVec
	lockSeconds    prometheus.Histogram
	gateSeconds    prometheus.Histogram
	authorisations *prometheus.CounterVec
	storeErrors    *prometheus.CounterVec
	sweeps         *prometheus.CounterVec
	due            prometheus.Counter
	webhooks       *prometheus.CounterVec

	all []prometheus.Collector
}

func newProcessMetrics() *processMetrics {
	m := &processMetrics{
		misses: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_cache_misses_total",
			Help: "Times that a call had to wait for its token, by what it waited for.",
		}, []string{"waited_for"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_refusals_total",
			Help: "Answers of 401 from Pleo's API, by what was found out about the refused token.",
		}, []string{"cause"}),
		refreshes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_refreshes_total",
			Help: "Refreshes of grants, by result and by what Pleo had just said of the token.",
		}, []string{"result", "after"}),
		refreshSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pleo_refresh_duration_seconds",
			Help:    "Time from the mark of a refresh that was sent to its answer, or its failure.",
			Buckets: []float64{.05, .1, .25, .5, 1, 2.5, 5, 10, 15, 30, 60, 300},
		}),
		settles: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_settles_total",
			Help: "Answers of Pleo about refreshes whose answer was lost, and connections given up for it.",
		}, []string{"result"}),
		lockSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pleo_lock_wait_seconds",
			Help:    "Time until a connection's lock was taken, or given up.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
		// A gate is bounded by 2 s: whatever is above 1.5 s met the bound.
		gateSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "pleo_gate_wait_seconds",
			Help:    "Time that a call waited while its token was being refreshed.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2.5},
		}),
		authorisations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_authorisations_total",
			Help: "Callbacks of browsers that came back from Pleo, by result.",
		}, []string{"result"}),
		storeErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_store_errors_total",
			Help: "Operations of the store that failed or were not answered in time.",
		}, []string{"operation"}),
		sweeps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pleo_sweeps_total",
			Help: "Searches of the store for connections that are due, by result.",
		}, []string{"result"}),
		due: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "pleo_due_connections_total",
			Help: "Connections that sweeps found due and looked after.",
		}),
		webhooks: newWebhookCounter(),
	}
	calls := m.calls.init()
	hits := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "pleo_cache_hits_total",
		Help: "Calls whose token, or whose lack of one, was known from memory.",
	}, func() float64 { return float64(m.hits.sum()) })
	m.all = []prometheus.Collector{
		calls, hits, m.misses, m.refusals, m.refreshes, m.refreshSeconds, m.settles, m.lockSeconds, m.gateSeconds,
		m.authorisations, m.storeErrors, m.sweeps, m.due, m.webhooks, newBuildInfo(), newSourceGauges(liveSources),
	}

	zero(m.misses, pleoauth.MissCauses())
	zero(m.refusals, pleoauth.RefusalCauses())
	zero(m.settles, pleoauth.SettleResults())
	zero(m.authorisations, pleoauth.AuthorisationResults())
	zero(m.storeErrors, pleoauth.StoreOperations())
	zero(m.sweeps, pleoauth.SweepResults())
	for _, result := range pleoauth.RefreshResults() {
		for _, after := range pleoauth.RefreshAfters() {
			m.refreshes.WithLabelValues(string(result), string(after))
		}
	}
	return m
}

// zero makes a series for each value of the only label.
func zero[V ~string](c *prometheus.CounterVec, values []V) {
	for _, v := range values {
		c.WithLabelValues(string(v))
	}
}

// register adds the metrics to a configuration's registry, where they may be
// already. It never panics: this runs while another configuration serves.
func (m *processMetrics) register(r prometheus.Registerer) error {
	for _, c := range m.all {
		err := r.Register(c)
		if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](err); ok && there.ExistingCollector == c {
			continue
		}
		if err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
