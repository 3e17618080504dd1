package pleoauth

import (
	"errors"
	"net"
	"net/http"
	"net/url"
)

// errPlain is returned when a server of ours that is plain HTTP, which only one
// on this machine may be, turns out to be on another.
var errPlain = errors.New("the server is plain HTTP, and its name leads to another machine")

// isPlain reports whether one of the servers is plain HTTP at the address.
func (c Config) isPlain(address string) bool {
	for _, server := range []string{c.AuthServer, c.APIServer} {
		if u, err := url.Parse(server); err == nil && u.Scheme == "http" && hostPort(u) == address {
			return true
		}
	}
	return false
}

// checkPeer keeps secrets off the network: a name under localhost is looked up
// like any other where the system does not know better.
func (c Config) checkPeer(address string, peer net.Addr) error {
	tcp, ok := peer.(*net.TCPAddr)
	if ok && !tcp.IP.IsLoopback() && c.isPlain(address) {
		return errPlain
	}
	return nil
}

// forwardProxy is the proxy that the environment names. What is plain HTTP stays
// on this machine, and goes through none.
func forwardProxy(req *http.Request) (*url.URL, error) {
	if req.URL.Scheme == "http" {
		return nil, nil
	}
	return http.ProxyFromEnvironment(req)
}

// hostPort is where a URL leads to.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}
