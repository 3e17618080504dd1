package caddymodule

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"sync"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

var (
	errLoop = errors.New("the host of api_server resolves to this machine, so calls would come back to the proxy: " +
		"give a fixed address with 'to', or another name and 'resolvers' (/etc/hosts is read first)")
	errPlain = errors.New("api_server is plain HTTP, and its connection leads to another machine")
)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// guardPeers has each new connection checked for where it leads to, before
// anything is sent.
func (t *Transport) guardPeers(rt *http.Transport) {
	// Behind a forward proxy the peer is that proxy, which may well be on this
	// machine; the connection inside is checked by its certificate.
	var proxies sync.Map
	if find := rt.Proxy; find != nil {
		rt.Proxy = func(req *http.Request) (*url.URL, error) {
			u, err := find(req)
			if u != nil {
				proxies.Store(proxyAddress(u), nil)
			}
			return u, err
		}
	}
	guard := func(dial dialFunc) dialFunc {
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			_, proxied := proxies.Load(address)
			if err := t.api.checkPeer(conn.RemoteAddr(), proxied); err != nil {
				_ = conn.Close()
				return nil, reverseproxy.NewDialError(err)
			}
			return conn, nil
		}
	}
	rt.DialContext = guard(rt.DialContext)
	if rt.DialTLSContext != nil {
		rt.DialTLSContext = guard(rt.DialTLSContext)
	}
}

// checkPeer returns an error if a connection to addr cannot lead to the API, or
// would show the token to the network.
func (s apiServer) checkPeer(addr net.Addr, proxied bool) error {
	loopback, unix := false, true
	if tcp, ok := addr.(*net.TCPAddr); ok {
		ip, _ := netip.AddrFromSlice(tcp.IP)
		loopback, unix = ip.Unmap().IsLoopback(), false
	}
	switch {
	case !s.tls() && !loopback && !unix:
		return errPlain
	case !s.loopback && loopback && !proxied:
		return errLoop
	}
	return nil
}

// proxyAddress is the address that net/http dials for a forward proxy.
func proxyAddress(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	if port == "" {
		port = "1080" // SOCKS
	}
	return net.JoinHostPort(u.Hostname(), port)
}
