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
