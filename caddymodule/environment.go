package caddymodule

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	production = "production"
	staging    = "staging"
)

func checkEnvironment(name string) error {
	switch name {
	case "", production, staging:
		return nil
	}
	return fmt.Errorf("environment: %q is neither %s nor %s", name, production, staging)
}

// servers returns the base URLs of the authorisation server and of the API.
func (a *App) servers() (auth, api string) {
	auth, api = pleoauth.ProductionAuthServer, pleoauth.ProductionAPIServer
	if a.Environment == staging {
		auth, api = pleoauth.StagingAuthServer, pleoauth.StagingAPIServer
	}
	if a.AuthServer != "" {
		auth = a.AuthServer
	}
	if a.APIServer != "" {
		api = a.APIServer
	}
	return auth, api
}

// checkServers returns an error if a server is not given literally. A
// placeholder there could be changed by whoever sets the environment, and with
// it where tokens go.
func (a *App) checkServers() error {
	for _, server := range []struct{ name, value string }{{"auth_server", a.AuthServer}, {"api_server", a.APIServer}} {
		if hasPlaceholder(server.value) {
			return fmt.Errorf("%s: it must be a literal URL, without placeholders ({$NAME} is replaced before)", server.name)
		}
	}
	return checkEnvironment(a.Environment)
}

// apiServer is where tokens may go.
type apiServer struct {
	scheme string
	// host is the value of the Host header, name the one in the certificate,
	// dial where to connect to.
	host, name, dial string
	// loopback: the server is on this machine by its very name.
	loopback bool
}

func newAPIServer(base string) (apiServer, error) {
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.Hostname() == "" {
		return apiServer{}, fmt.Errorf("api_server: %q is not a URL", base)
	}
	defaultPort := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if defaultPort == "" {
		return apiServer{}, fmt.Errorf("api_server: %q is neither https nor http", base)
	}
	s := apiServer{
		scheme:   u.Scheme,
		host:     u.Host,
		name:     u.Hostname(),
		loopback: pleoauth.IsLoopbackHost(u.Hostname()),
	}
	port := u.Port()
	if port == "" || port == defaultPort {
		port = defaultPort
		s.host = strings.TrimSuffix(u.Host, ":"+defaultPort)
	}
	s.dial = net.JoinHostPort(s.name, port)
	return s, nil
}

func (s apiServer) tls() bool { return s.scheme == "https" }
