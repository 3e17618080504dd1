package caddymodule

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// resolveClientSecrets fills in the client's secrets, and has those that stand
// in files read again when Pleo refuses one: whoever changes a secret there
// need not reload. What the environment of a process says does not change.
func (a *App) resolveClientSecrets(r resolver) error {
	secret, second := a.ClientSecret, a.SecondClientSecret
	var err error
	if a.config.ClientSecret, err = r.secret("client_secret", secret); err != nil {
		return err
	}
	if a.config.SecondClientSecret, err = r.secret("second_client_secret", second); err != nil {
		return err
	}
	if !strings.Contains(secret+second, "{file.") {
		return nil
	}
	// It outlives this configuration, so it keeps nothing of it but the text.
	a.config.ReadSecrets = func() (string, string, error) {
		now := resolver{replacer: caddy.NewReplacer()}
		first, err := now.confidential("client_secret", secret)
		if err != nil {
			return "", "", err
		}
		other, err := now.confidential("second_client_secret", second)
		return first, other, err
	}
	return nil
}
