package caddymodule

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// durabilityBound is how long a start waits for a store that is to be checked.
const durabilityBound = 3 * time.Second

func requiresDurability(store Store) bool {
	requirer, ok := store.(DurabilityRequirer)
	return ok && requirer.RequiresDurability()
}

// checkDurability returns an error that names what may lose grants. A store
// that does not answer is none: the proxy must be able to start without it, and
// the source checks again once the store is there.
func (a *App) checkDurability(source *pleoauth.Source) error {
	ctx, cancel := context.WithTimeout(context.Background(), durabilityBound)
	defer cancel()
	risks, err := source.CheckDurability(ctx)
	if len(risks) > 0 {
		texts := make([]string, len(risks))
		for i, risk := range risks {
			texts[i] = risk.Server + ": " + risk.Text
		}
		return fmt.Errorf("store: require_durable: the store may lose grants: %s", strings.Join(texts, "; "))
	}
	if err != nil {
		a.logger.Warn("store: require_durable could not be checked, since the store does not answer; it is checked once it does", zap.Error(err))
	}
	return nil
}

// checkStore returns an error if the store refuses what a reload would have this process
// ask it for: the tokens in memory are good for a while, and a configuration with a wrong
// password would throw them away. A store that cannot be reached is none, as at a start.
func (a *App) checkStore(source *pleoauth.Source) error {
	ctx, cancel := context.WithTimeout(context.Background(), durabilityBound)
	defer cancel()
	if reason, ok := pleoauth.ReasonOf(source.CheckStore(ctx)); ok && reason.Refused() {
		return fmt.Errorf("store: it refuses what it is asked for, so that the configuration before goes on: %s", reason.Text)
	}
	return nil
}
