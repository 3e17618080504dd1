package caddymodule

import (
	"fmt"

	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// logStart says what runs: the first thing to compare where two replicas, or a test
// and production, do not do the same.
func (a *App) logStart() {
	store := fmt.Sprintf("%T", a.store)
	if named, ok := a.store.(fmt.Stringer); ok {
		store = named.String()
	}
	a.logger.Info("serving calls to Pleo", zap.String("version", Version()), zap.String("environment", a.environment()),
		zap.String("auth_server", a.config.AuthServer), zap.String("api_server", a.config.APIServer),
		zap.String("client_id", a.config.ClientID), zap.String("store", store), zap.Strings("key_ids", a.opener.keyIDs))
}

// environment returns which of Pleo's environments the servers are, or "other".
func (a *App) environment() string {
	switch [2]string{a.config.AuthServer, a.config.APIServer} {
	case [2]string{pleoauth.ProductionAuthServer, pleoauth.ProductionAPIServer}:
		return production
	case [2]string{pleoauth.StagingAuthServer, pleoauth.StagingAPIServer}:
		return staging
	}
	return "other"
}
