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

	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	defaultHealthAddress = "http://127.0.0.1:7536/healthz"
	// healthPatience bounds one question.
	healthPatience = 10 * time.Second
	// healthPause is how long --wait waits between questions.
	healthPause = 200 * time.Millisecond
)

// errNotReady is returned when a proxy answers, and cannot serve calls yet.
var errNotReady = errors.New("the proxy cannot serve calls")

func healthCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "health [--address <address>] [--wait <duration>] [--json]",
		Short: "Asks a running proxy whether it can serve calls",
		Long: `
Asks a running proxy how it is, prints what it says, and fails unless it is ready,
or degraded but serving. It suits probes that run inside the container: from
outside, nothing reaches a proxy that is bound to loopback.

Without --address and --config it asks pleo_health at ` + defaultHealthAddress + `,
and if there is none, Caddy's admin endpoint, which CADDY_ADMIN names. With --wait
it asks again until the proxy serves, for start-up scripts.
`,
		Args: cobra.NoArgs,
	}
	flags := addAPIFlags(cmd)
	cmd.Flags().Lookup("address").Usage = "Where pleo_health is, as a URL or as a host and port, which mean /healthz there; or the admin endpoint, as unix//path"
	wait := cmd.Flags().Duration("wait", 0, "For how long to ask until the proxy serves, such as 30s")
	cmd.RunE = withExitCode(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
		health, err := flags.health(ctx)
		for until := time.Now().Add(*wait); err != nil && time.Now().Before(until); health, err = flags.health(ctx) {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(healthPause):
			}
		}
		if health.Status == "" {
			return err
		}
		return errors.Join(printHealth(cmd.OutOrStdout(), health, flags.json), err)
	})
	return cmd
}

// health asks the proxy that the flags name. The error is [errNotReady] if it
// says that it cannot serve, and wraps [errUnreachable] if it says nothing.
func (f *apiFlags) health(ctx context.Context) (pleoauth.Health, error) {
	if f.config == "" && !strings.HasPrefix(f.address, "unix") {
		health, err := askHealth(ctx, http.DefaultClient, healthURL(f.address), "")
		if f.address != "" || !errors.Is(err, errUnreachable) {
			return health, err
		}
		// No site of the default's kind: a pod that has the callback alone, say.
		if atAdmin, adminErr := f.healthAtAdmin(ctx); !errors.Is(adminErr, errUnreachable) {
			return atAdmin, adminErr
		}
		return health, err
	}
	return f.healthAtAdmin(ctx)
}

func (f *apiFlags) healthAtAdmin(ctx context.Context) (pleoauth.Health, error) {
	client, err := f.client()
	if err != nil {
		return pleoauth.Health{}, err
	}
	return askHealth(ctx, client.http, client.base+healthPath, client.origin)
}

func healthURL(address string) string {
	if address == "" {
		return defaultHealthAddress
	}
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	if _, path, _ := strings.Cut(address, "://"); !strings.Contains(path, "/") {
		address += "/healthz"
	}
	return address
}

func askHealth(ctx context.Context, client *http.Client, url, origin string) (pleoauth.Health, error) {
	var health pleoauth.Health
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return health, err
	}
	if origin != "" {
		req.Header.Set("Origin", origin)
	}
	res, err := client.Do(req)
	if err != nil {
		return health, fmt.Errorf("%w at %s: %w", errUnreachable, url, errors.Unwrap(err))
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&health); err != nil || health.Status == "" {
		// Caddy answers 200 without a body for a site that it does not have.
		return pleoauth.Health{}, fmt.Errorf("%w: there is no pleo_health at %s", errUnreachable, url)
	}
	if health.Status != healthReady && health.Status != healthDegraded {
		return health, fmt.Errorf("%w: it is %s", errNotReady, health.Status)
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
