package caddymodule

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// sourceGauges show what the process's sources have in memory, asked when they
// are scraped.
type sourceGauges struct {
	sources                             func() []statsSource
	connections, oldest, unsaved, risks *prometheus.Desc
	unusable, alone, waiting, paused    *prometheus.Desc
	failing                             *prometheus.Desc
}

// statsSource is what the gauges ask of a source.
type statsSource interface {
	Stats() pleoauth.Stats
	DurabilityRisks() []pleoauth.DurabilityRisk
}

func newSourceGauges(sources func() []statsSource) *sourceGauges {
	return &sourceGauges{
		sources: sources,
		connections: prometheus.NewDesc("pleo_connections",
			"Connections in this process's memory, by state.", []string{"state"}, nil),
		oldest: prometheus.NewDesc("pleo_oldest_grant_age_seconds",
			"Age of the oldest grant in memory, or lately met by a sweep and not renewed.", nil, nil),
		unsaved: prometheus.NewDesc("pleo_unsaved_grants",
			"Grants that are held because the store has not taken them.", nil, nil),
		risks: prometheus.NewDesc("pleo_store_risks",
			"Servers of the store that were found to be able to lose grants, by how.", []string{"risk"}, nil),
		unusable: prometheus.NewDesc("pleo_introspection_unusable_connections",
			"Connections whose refresh tokens Pleo's introspection calls inactive although they were just issued.", nil, nil),
		alone: prometheus.NewDesc("pleo_store_alone",
			"Whether the store, which has had replicas, has none in step.", nil, nil),
		failing: prometheus.NewDesc("pleo_store_failing",
			"Whether the store fails at the moment, by why: the first word of its server's answer, or unreachable.", []string{"reason"}, nil),
		waiting: prometheus.NewDesc("pleo_oauth_waiting_requests",
			"Requests to the token and introspection endpoints that wait for their turn.", nil, nil),
		paused: prometheus.NewDesc("pleo_oauth_paused",
			"Whether an answer of 429 from Pleo holds all requests to the token and introspection endpoints.", nil, nil),
	}
}

// liveSources returns the sources that configurations use.
func liveSources() []statsSource {
	var found []statsSource
	sources.Range(func(_, value any) bool {
		if shared, ok := value.(*sharedSource); ok {
			found = append(found, shared.source)
		}
		return true
	})
	return found
}

// Describe implements [prometheus.Collector].
func (g *sourceGauges) Describe(descs chan<- *prometheus.Desc) {
	descs <- g.connections
	descs <- g.oldest
	descs <- g.unsaved
	descs <- g.risks
	descs <- g.unusable
	descs <- g.alone
	descs <- g.failing
	descs <- g.waiting
	descs <- g.paused
}

// stateLabels are the states as labels. A name without a record has none.
var stateLabels = map[pleoauth.State]string{
	pleoauth.StateConnected:               "connected",
	pleoauth.StateReauthorisationRequired: "reauthorisation_required",
	pleoauth.StateDisconnected:            "disconnected",
	"":                                    "absent",
}

// storeReasons are the values of the label reason. What a server answers beyond them is
// "refused".
var storeReasons = []string{
	pleoauth.CodeUnreachable, pleoauth.CodeRefused, pleoauth.CodeUnknownCommand,
	"BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM", "NOREPLICAS", "OOM", "READONLY", "WRONGPASS",
}

// Collect implements [prometheus.Collector].
func (g *sourceGauges) Collect(metrics chan<- prometheus.Metric) {
	states := map[pleoauth.State]int{}
	var oldest time.Duration
	var unsaved int64
	var unusable, waiting int
	var alone, paused float64
	risks, failing := map[string]int{}, map[string]float64{}
	for _, source := range g.sources() {
		stats := source.Stats()
		for state, n := range stats.Connections {
			states[state] += n
		}
		oldest = max(oldest, stats.OldestGrant)
		unsaved += stats.Unsaved
		unusable += stats.IntrospectionUnusable
		waiting += stats.Waiting
		if stats.Alone {
			alone = 1
		}
		for _, reason := range stats.Store {
			code := reason.Code
			if !slices.Contains(storeReasons, code) {
				code = pleoauth.CodeRefused
			}
			failing[code] = 1
		}
		if stats.Paused {
			paused = 1
		}
		for _, risk := range source.DurabilityRisks() {
			risks[risk.Code]++
		}
	}
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	for state, label := range stateLabels {
		gauge(g.connections, float64(states[state]), label)
	}
	gauge(g.oldest, oldest.Seconds())
	gauge(g.unsaved, float64(unsaved))
	for _, code := range []string{pleoauth.RiskEviction, pleoauth.RiskPersistence, pleoauth.RiskReplicas, pleoauth.RiskSplit} {
		gauge(g.risks, float64(risks[code]), code)
	}
	gauge(g.unusable, float64(unusable))
	gauge(g.alone, alone)
	for _, code := range storeReasons {
		gauge(g.failing, failing[code], code)
	}
	gauge(g.waiting, float64(waiting))
	gauge(g.paused, paused)
}

// Interface guards
var (
	_ prometheus.Collector = (*sourceGauges)(nil)
	_ statsSource          = (*pleoauth.Source)(nil)
)
