package pleoauth

import (
	"context"
	"slices"
	"time"
)

const (
	// durabilityEvery is how often the store is asked whether it keeps what it
	// is given, durabilityRetry how soon again if it does not answer.
	durabilityEvery = time.Hour
	durabilityRetry = 10 * time.Second
	// durabilityBound bounds one such check.
	durabilityBound = 3 * time.Second
)

// DurabilityChecker may be implemented by a store that can tell whether it
// keeps what it is given.
type DurabilityChecker interface {
	// CheckDurability asks the store's servers how they are set up and returns
	// what may lose grants. An error says that not all servers could be asked;
	// what the servers that answered have shown comes with it. markLife is how long a mark
	// stands: a server that is cut off from its replicas must stop taking writes
	// sooner, or another that has taken its place may let a refresh go out too.
	CheckDurability(ctx context.Context, markLife time.Duration) ([]DurabilityRisk, error)
}

// The values of [DurabilityRisk.Code].
const (
	RiskEviction    = "eviction"
	RiskPersistence = "persistence"
	RiskReplicas    = "replicas"
	// RiskSplit: in a split network both sides of the store would go on taking
	// writes.
	RiskSplit = "split"
)

// DurabilityRisk is a way in which a store may lose grants.
type DurabilityRisk struct {
	// Code says what kind of risk it is: "eviction", "persistence", "replicas", "split".
	Code string
	// Server is the server that it was found at.
	Server string
	// Text says what was found and what to do, in words that may be shown to
	// anybody.
	Text string
}

// WithRequireDurable makes what may lose grants an error rather than a warning:
// it is logged as such, and health is degraded for as long as it is there. To
// refuse to start is the caller's affair, see [Source.CheckDurability].
func WithRequireDurable() Option { return func(o *options) { o.requireDurable = true } }

// CheckDurability asks the store now whether it keeps what it is given, and
// returns what may lose grants. An error says that not all of its servers could
// be asked; what the servers that answered have shown comes with it. Of a store that is no
// [DurabilityChecker] nothing is known, and nothing is returned.
func (s *Source) CheckDurability(ctx context.Context) ([]DurabilityRisk, error) {
	checker, ok := s.store.(DurabilityChecker)
	if !ok {
		return nil, nil
	}
	risks, err := checker.CheckDurability(ctx, s.times().mark)
	// A server that does not answer has not become a better one.
	if err == nil || len(risks) > 0 {
		s.risks.Store(&risks)
	}
	return slices.Clone(risks), err
}

// DurabilityRisks returns what the last check of the store found.
func (s *Source) DurabilityRisks() []DurabilityRisk {
	if risks := s.risks.Load(); risks != nil {
		return slices.Clone(*risks)
	}
	return nil
}

// checkingDurability checks the store once it answers, after each of its restarts,
// and every hour: a server that is replaced, or set up in another way, may be
// another one tomorrow.
func (s *Source) checkingDurability() {
	if _, ok := s.store.(DurabilityChecker); !ok {
		return
	}
	for !s.closing() {
		again := durabilityEvery
		if !s.checkDurability() {
			again = durabilityRetry
		}
		s.pause(again, s.restarted)
	}
}

// checkDurability logs what it finds, and reports whether the store answered.
func (s *Source) checkDurability() bool {
	ctx, cancel := context.WithTimeout(context.Background(), durabilityBound)
	defer cancel()
	risks, err := s.CheckDurability(ctx)
	for _, risk := range risks {
		log := s.logger().With("risk", risk.Code, "server", risk.Server)
		if s.requireDurable {
			log.Error("the store may lose grants: " + risk.Text)
		} else {
			log.Warn("the store may lose grants: " + risk.Text)
		}
	}
	if err != nil {
		s.logger().Debug("the store could not be asked whether it keeps what it is given", "error", err)
	}
	return err == nil
}

// riskTexts returns each text once: several servers may have the same risk.
func riskTexts(risks []DurabilityRisk) []string {
	var texts []string
	for _, risk := range risks {
		if !slices.Contains(texts, risk.Text) {
			texts = append(texts, risk.Text)
		}
	}
	return texts
}
