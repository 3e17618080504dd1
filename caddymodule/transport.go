package caddymodule

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

func init() {
	caddy.RegisterModule(Transport{})
}

// Transport sends calls to Pleo with the access token of their connection. It
// is Caddy's HTTP transport, all of whose options it takes, and more; compression
// is off unless it is set, so that answers pass as Pleo sends them.
//
// The token is put in here, on a copy of the outgoing request that nobody else
// sees: no other handler, no log and no error page ever holds it. Here, too, a
// call whose token was refused is sent again, and here our own answers are made:
// documents of the type application/problem+json.
//
// Passive health checks, circuit breakers and retries by answer of the reverse
// proxy around it would take those answers for Pleo's; the directive pleo_proxy
// does not allow them. An active health check belongs to no connection and is
// sent without a token: Pleo can be reached if it answers 401.
type Transport struct {
	reverseproxy.HTTPTransport

	// The connection that calls are for: a name, or placeholders such as
	// {http.request.host.labels.2}. With it, the header Pleo-Connection is
	// ignored. Default: what Pleo-Connection says, and the connection
	// "default" if there is no such header.
	Connection string `json:"connection,omitempty"`

	// Addresses or ranges, besides loopback and unix sockets, that may call.
	// Default: none.
	AllowClients []string `json:"allow_clients,omitempty"`

	// Host names that calls may have in their Host, besides loopback ones and
	// that of the API. Default: none.
	AllowHosts []string `json:"allow_hosts,omitempty"`

	// How many bytes of a call's body are kept to send it again if Pleo refuses
	// its token. All calls together keep 64 MiB at most. 0 keeps none.
	// Default: 1 MiB.
	ReplayBuffer *int64 `json:"replay_buffer,omitempty"`

	app    *App
	api    apiServer
	caller callerRules
	limit  int64
	memory *budget
	tokens func(*sharedSource) tokenSource
	logger *zap.Logger
}

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.reverse_proxy.transport.pleo",
		New: func() caddy.Module { return new(Transport) },
	}
}

// Provision sets up the transport and pins it to the API's server.
func (t *Transport) Provision(ctx caddy.Context) error {
	t.logger = ctx.Logger()
	app, err := pleoApp(ctx, "transport pleo")
	if err != nil {
		return err
	}
	t.app = app
	if t.api, err = newAPIServer(app.config.APIServer); err != nil {
		return err
	}
	if err := t.check(t.api); err != nil {
		return err
	}
	if t.caller, err = newCallerRules(t.AllowClients, t.AllowHosts, t.api); err != nil {
		return err
	}
	if strings.Contains(t.Connection, "{http.request.port}") {
		t.logger.Warn("{port} is what the caller's Host says, and so the caller's choice; a listener's port is {http.request.local.port}",
			zap.String("option", "connection"))
	}
	t.limit = defaultReplayBuffer
	if t.ReplayBuffer != nil {
		t.limit = *t.ReplayBuffer
	}
	t.memory = replayMemory
	t.tokens = func(s *sharedSource) tokenSource { return sourceTokens{s.source} }

	if t.Compression == nil { // on, it would unpack what a caller did not ask to be packed
		t.Compression = new(bool)
	}
	if t.api.tls() {
		if t.TLS == nil {
			t.TLS = new(reverseproxy.TLSConfig)
		}
		t.TLS.ServerName = t.api.name
		if t.TLS.CARaw == nil && len(t.TLS.RootCAPool) == 0 && len(t.TLS.RootCAPEMFiles) == 0 {
			t.TLS.CARaw = app.TrustPoolRaw
		}
	}
	if err := t.HTTPTransport.Provision(ctx); err != nil {
		return err
	}
	t.guardPeers(t.HTTPTransport.Transport)
	return nil
}

// check returns an error if an option is wrong, or would let a token go to
// anybody but the API's server.
func (t *Transport) check(api apiServer) error {
	if t.Connection != "" {
		if err := checkSelection(t.Connection); err != nil {
			return err
		}
	}
	if t.ReplayBuffer != nil {
		if err := checkReplayBuffer(*t.ReplayBuffer); err != nil {
			return err
		}
	}
	if slices.Contains(t.Versions, "3") {
		return errHTTP3
	}
	if t.TLS == nil {
		return nil
	}
	switch {
	case !api.tls():
		return errNoTLS
	case t.TLS.InsecureSkipVerify:
		return errInsecure
	case len(t.TLS.ExceptPorts) > 0:
		return errExceptPorts
	}
	return api.checkServerName(t.TLS.ServerName)
}

// Errors of options that would let a token go to somebody else.
var (
	errInsecure    = errors.New("tls_insecure_skip_verify: tokens would go to whoever answers; for a private CA there is tls_trust_pool")
	errExceptPorts = errors.New("tls_except_ports: tokens never go over plain HTTP")
	errNoTLS       = errors.New("tls: api_server is plain HTTP")
	errHTTP3       = errors.New("versions: HTTP/3 is not supported by transport pleo")
)

func (s apiServer) checkServerName(name string) error {
	if name == "" || strings.EqualFold(name, s.name) {
		return nil
	}
	return fmt.Errorf("tls_server_name: tokens go to %s alone, the host of api_server", s.name)
}

func checkReplayBuffer(size int64) error {
	if size < 0 || size > replayBudget {
		return fmt.Errorf("replay_buffer: %d bytes are not between none and the 64 MiB that all calls share", size)
	}
	return nil
}

// pleoApp returns the app that a module needs.
func pleoApp(ctx caddy.Context, module string) (*App, error) {
	value, err := ctx.AppIfConfigured("pleo")
	if errors.Is(err, caddy.ErrNotConfigured) {
		return nil, fmt.Errorf("%s needs the app pleo, in a Caddyfile the global option pleo: %w", module, err)
	}
	if err != nil {
		return nil, err
	}
	app, ok := value.(*App)
	if !ok {
		return nil, fmt.Errorf("the app pleo is %T", value)
	}
	return app, nil
}

// RequestHeaderOps hides the embedded transport's: Host is set in RoundTrip,
// where nothing can change it any more, and any such operation would make
// Caddy copy the header once more for each call.
func (t *Transport) RequestHeaderOps() *headers.HeaderOps { return nil }

// Interface guards
var (
	_ caddy.CleanerUpper                     = (*Transport)(nil)
	_ caddy.Provisioner                      = (*Transport)(nil)
	_ http.RoundTripper                      = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport = (*Transport)(nil)
	_ reverseproxy.TLSTransport              = (*Transport)(nil)
)
