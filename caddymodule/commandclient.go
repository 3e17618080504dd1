package caddymodule

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// apiFlags are the flags of the commands that ask a running proxy. They find
// Caddy's admin endpoint as `stop` and `reload` do.
type apiFlags struct {
	address, config, adapter string
	json                     bool
}

func addAPIFlags(cmd *cobra.Command) *apiFlags {
	f := new(apiFlags)
	cmd.Flags().StringVar(&f.address, "address", "", "Where the admin endpoint listens, or the base URL of a site with pleo_api")
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "Configuration file to read the admin endpoint's address from")
	cmd.Flags().StringVarP(&f.adapter, "adapter", "a", "", "Name of the config adapter, if the file is not JSON")
	cmd.Flags().BoolVar(&f.json, "json", false, "Print JSON")
	return f
}

// client returns what asks the proxy that the flags name. Without any it is
// the admin endpoint at Caddy's default address, which CADDY_ADMIN changes.
func (f *apiFlags) client() (*apiClient, error) {
	if path, ok := strings.CutPrefix(f.address, "unix://"); ok {
		return newAdminClient("unix/" + path) // as a URL would have it
	}
	if strings.Contains(f.address, "://") {
		return &apiClient{base: strings.TrimRight(f.address, "/"), place: f.address, http: new(http.Client)}, nil
	}
	address, err := caddycmd.DetermineAdminAPIAddress(f.address, nil, f.config, f.adapter)
	if err != nil {
		return nil, fmt.Errorf("finding the admin endpoint: %w", err)
	}
	return newAdminClient(address)
}

// apiClient asks a running proxy by its routes under /pleo/.
type apiClient struct {
	base   string // scheme and host
	origin string // of Caddy's admin endpoint, which may enforce it
	place  string // for people
	http   *http.Client
}

// newAdminClient dials addresses in Caddy's own notation: host:port, or
// unix//path, to which permissions may be appended.
func newAdminClient(address string) (*apiClient, error) {
	parsed, err := caddy.ParseNetworkAddress(address)
	if err != nil || parsed.PortRangeSize() > 1 || parsed.IsFdNetwork() {
		return nil, fmt.Errorf("%q is not an address that can be dialled, such as localhost:2019 or unix//run/caddy.sock", address)
	}
	c := &apiClient{place: address}
	target := parsed.JoinHostPort(0)
	if parsed.IsUnixNetwork() {
		target, _, _ = strings.Cut(parsed.Host, "|")
		c.base = "http://127.0.0.1" // the Host that Caddy expects on a socket
	} else {
		if host, port, err := net.SplitHostPort(target); err == nil && host == "" {
			target = net.JoinHostPort("localhost", port)
		}
		c.base = "http://" + target
		c.origin = c.base
	}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, target)
		},
	}}
	return c, nil
}

// call sends a request, with body as JSON unless it is nil, and decodes the
// answer into answer unless that is nil. The error is a [*refusedError] if the
// proxy refused, and wraps [errUnreachable] if there is none.
func (c *apiClient) call(ctx context.Context, method, path string, body, answer any) error {
	res, err := c.open(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if answer == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(res.Body).Decode(answer); err != nil {
		// Caddy answers 200 without a body for a site that it does not have.
		return fmt.Errorf("%w at %s: what answers there is not JSON", errUnreachable, c.place)
	}
	return nil
}

// open is call for an answer that the caller reads, and closes.
func (c *apiClient) open(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.origin != "" {
		req.Header.Set("Origin", c.origin)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, fmt.Errorf("%w at %s: %w", errUnreachable, c.place, errors.Unwrap(err))
	}
	if res.StatusCode < http.StatusBadRequest {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	return nil, c.refused(res)
}

// errUnreachable is returned when no proxy answers.
var errUnreachable = errors.New("no proxy answers")

// refusedError is an answer of the proxy that says why it did not do what it
// was asked for.
type refusedError struct {
	problem
	place string
}

func (c *apiClient) refused(res *http.Response) error {
	refused := &refusedError{place: c.place}
	text, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err == nil && json.Unmarshal(text, &refused.problem) == nil && strings.HasPrefix(refused.Type, problemType) {
		return refused
	}
	// Caddy's own answer: a route that it does not have, or a Host or Origin
	// that it does not take.
	refused.problem = problem{Status: res.StatusCode}
	var caddys struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(text, &caddys) == nil {
		refused.Detail = caddys.Error
	}
	return refused
}

// Error says what the proxy said.
func (e *refusedError) Error() string {
	switch {
	case e.Type == "" && e.Status == http.StatusNotFound && e.Detail == "":
		return "the server at " + e.place + " has no routes under /pleo/"
	case e.Type == "":
		return strings.TrimRight(fmt.Sprintf("the server at %s answers %d: %s", e.place, e.Status, e.Detail), ": ")
	case e.Connection != "":
		return fmt.Sprintf("%s: %s", e.Connection, e.Detail)
	}
	return e.Detail
}

// Interface guards
var (
	_ error = (*refusedError)(nil)
)
