package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "pleo",
		Usage: "<command>",
		Short: "Works with the proxy's connections to Pleo",
		Long: `
Commands for the proxy that sends calls to Pleo with the right access token.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(
				connectionsCommand(), showCommand(), refreshCommand(), disconnectCommand(), authoriseURLCommand(),
				keygenCommand(), healthCommand(), rekeyCommand(),
			)
		},
	})
}

func keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen [--json]",
		Short: "Makes a key for the option encryption_key",
		Long: `
Prints a new key that grants can be sealed with: base64 of 32 random bytes. Keep
it where secrets are kept, give it to every replica, and put the placeholder of
it into the configuration:

	encryption_key {env.PLEO_ENCRYPTION_KEY}

To change keys, put a new one before the old one; the old one goes on opening
what it has sealed, until pleo rekey has sealed that anew.
`,
		Args: cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key := pleoauth.GenerateKey()
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"key": key})
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	}
	return cmd
}

const defaultHealthAddress = "http://127.0.0.1:7536/healthz"

func healthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health [--address <url>] [--json]",
		Short: "Asks a running proxy whether it can serve calls",
		Long: `
Asks pleo_health of a running proxy, prints what it says, and fails unless it is
ready, or degraded but serving. It suits probes that run inside the container:
from outside, nothing reaches a proxy that is bound to loopback.
`,
		Args: cobra.NoArgs,
	}
	address := cmd.Flags().String("address", defaultHealthAddress, "Where pleo_health is; a host and port alone mean /healthz there")
	asJSON := cmd.Flags().Bool("json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		health, err := askHealth(cmd.Context(), healthURL(*address))
		if err != nil {
			return err
		}
		if err := printHealth(cmd.OutOrStdout(), health, *asJSON); err != nil {
			return err
		}
		if health.Status != healthReady && health.Status != healthDegraded {
			return fmt.Errorf("the proxy is %s", health.Status)
		}
		return nil
	}
	return cmd
}

func healthURL(address string) string {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	if _, path, _ := strings.Cut(address, "://"); !strings.Contains(path, "/") {
		address += "/healthz"
	}
	return address
}

func askHealth(ctx context.Context, url string) (pleoauth.Health, error) {
	var health pleoauth.Health
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return health, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return health, err
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&health); err != nil || health.Status == "" {
		// Caddy answers 200 without a body for a site that it does not have.
		return health, errors.New("there is no pleo_health at " + url)
	}
	return health, nil
}

func printHealth(w io.Writer, health pleoauth.Health, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(health)
	}
	lines := []string{health.Status}
	if len(health.Reasons) > 0 {
		lines[0] += ": " + strings.Join(health.Reasons, "; ")
	}
	for _, risk := range health.Risks {
		lines = append(lines, "risk: "+risk)
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}
