package pleoauth

import (
	"context"
	"fmt"
)

// The values of [Health.Status].
const (
	HealthStarting = "starting"
	HealthReady    = "ready"
	HealthDegraded = "degraded"
)

// Health says how a source is, in words that may be shown to anybody.
type Health struct {
	// Status is "starting", "ready" or "degraded": serving, but not as it should.
	Status string `json:"status"`
	// Reasons says what is wrong.
	Reasons []string `json:"reasons,omitempty"`
	// Unsaved is how many grants are held because the store has not taken them.
	Unsaved int64 `json:"unsaved"`
	// Risks says how the store may lose grants, by its last check.
	Risks []string `json:"risks,omitempty"`
}

// Health asks the store whether it can be reached, within ctx and the bound of
// one exchange: a sixth of the refresh timeout, at least 0.8 seconds.
func (s *Source) Health(ctx context.Context) Health {
	h := Health{Status: HealthReady, Unsaved: s.unsaved.Load(), Risks: riskTexts(s.DurabilityRisks())}
	ctx, cancel := context.WithTimeout(ctx, s.times().command)
	defer cancel()
	s.storeAnswered(StorePing, s.store.Ping(ctx))
	for _, reason := range s.trouble.reasons() {
		h.Status = HealthDegraded
		text := "the store refuses what it is asked for (" + reason.Text + ")"
		if !reason.Refused() {
			text = "the store cannot be reached (" + reason.Text + ")"
		}
		h.Reasons = append(h.Reasons, text+"; calls go on from memory until their tokens expire")
	}
	if s.spill.unusable() != nil && s.spill.try() != nil { // it may be there by now
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, "there is no disk to keep grants on that the store does not take; they would be in memory alone")
	}
	if h.Unsaved > 0 {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, fmt.Sprintf("grants that the store has not taken yet, or its replicas not confirmed, and that are held until then: %d", h.Unsaved))
	}
	stats := s.Stats()
	if stats.Alone {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, "none of the store's replicas is in step: if its network is split, its other side goes on with another server (replicas)")
	}
	if stats.IntrospectionUnusable > 0 {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, fmt.Sprintf("introspection cannot be believed: it calls refresh tokens inactive that were just issued; connections: %d", stats.IntrospectionUnusable))
	}
	if stats.Paused {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, fmt.Sprintf("Pleo has answered 429 and refreshes wait; requests that wait: %d", stats.Waiting))
	}
	if reason := s.unopened.reason(); reason != "" {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, reason)
	}
	if s.requireDurable && len(h.Risks) > 0 {
		h.Status = HealthDegraded
		h.Reasons = append(h.Reasons, "the store may lose grants, and is required not to (require_durable)")
	}
	if s.closing() {
		h.Status = HealthStarting
		h.Reasons = append(h.Reasons, "shutting down")
	}
	return h
}
