package caddymodule

import (
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// observer counts what sources tell.
func (m *processMetrics) observer() pleoauth.Observer {
	return pleoauth.Observer{
		Hit:    m.hits.add,
		Missed: func(c pleoauth.MissCause) { m.misses.WithLabelValues(string(c)).Inc() },
		Refreshed: func(r pleoauth.RefreshResult, after pleoauth.RefreshAfter, took time.Duration) {
			m.refreshes.WithLabelValues(string(r), string(after)).Inc()
			if r != pleoauth.RefreshNotSent {
				m.refreshSeconds.Observe(took.Seconds())
			}
		},
		Settled:     func(r pleoauth.SettleResult) { m.settles.WithLabelValues(string(r)).Inc() },
		LockWaited:  func(d time.Duration) { m.lockSeconds.Observe(d.Seconds()) },
		GateWaited:  func(d time.Duration) { m.gateSeconds.Observe(d.Seconds()) },
		Refused:     func(c pleoauth.RefusalCause) { m.refusals.WithLabelValues(string(c)).Inc() },
		StoreFailed: func(o pleoauth.StoreOperation) { m.storeErrors.WithLabelValues(string(o)).Inc() },
		Authorised:  func(r pleoauth.AuthorisationResult) { m.authorisations.WithLabelValues(string(r)).Inc() },
		Swept: func(r pleoauth.SweepResult, due int) {
			m.sweeps.WithLabelValues(string(r)).Inc()
			m.due.Add(float64(due))
		},
	}
}
