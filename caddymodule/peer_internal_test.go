package caddymodule

import (
	"net"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhereAConnectionMayLead(t *testing.T) {
	server := func(base string) apiServer {
		s, err := newAPIServer(base)
		require.NoError(t, err)
		return s
	}
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 443} }
	unix := &net.UnixAddr{Name: "/run/x", Net: "unix"}
	for _, c := range []struct {
		base     string
		peer     net.Addr
		proxied  bool
		expected error
	}{
		{"https://external.pleo.io", tcp("192.0.2.1"), false, nil},
		{"https://external.pleo.io", tcp("2001:db8::1"), false, nil},
		{"https://external.pleo.io", unix, false, nil},
		{"https://external.pleo.io", tcp("127.0.0.1"), false, errLoop},
		{"https://external.pleo.io", tcp("127.0.0.2"), false, errLoop},
		{"https://external.pleo.io", tcp("::1"), false, errLoop},
		{"https://external.pleo.io", tcp("::ffff:127.0.0.1"), false, errLoop},
		{"https://external.pleo.io", tcp("127.0.0.1"), true, nil},
		{"https://localhost:8443", tcp("127.0.0.1"), false, nil},
		{"https://localhost:8443", tcp("192.0.2.1"), false, nil},
		{"http://127.0.0.1:9102", tcp("127.0.0.1"), false, nil},
		{"http://localhost:9102", tcp("::1"), false, nil},
		{"http://localhost:9102", unix, false, nil},
		{"http://localhost:9102", tcp("192.0.2.1"), false, errPlain},
		{"http://localhost:9102", tcp("192.0.2.1"), true, errPlain},
	} {
		require.ErrorIs(t, server(c.base).checkPeer(c.peer, c.proxied), c.expected, "%v", c)
	}
}

func TestTheAPIsAddressIsReadFromItsURL(t *testing.T) {
	for base, expected := range map[string]apiServer{
		"https://external.pleo.io":     {scheme: "https", host: "external.pleo.io", name: "external.pleo.io", dial: "external.pleo.io:443"},
		"https://external.pleo.io:443": {scheme: "https", host: "external.pleo.io", name: "external.pleo.io", dial: "external.pleo.io:443"},
		"https://external.pleo.io/":    {scheme: "https", host: "external.pleo.io", name: "external.pleo.io", dial: "external.pleo.io:443"},
		"https://[::1]:8443":           {scheme: "https", host: "[::1]:8443", name: "::1", dial: "[::1]:8443", loopback: true},
		"http://localhost":             {scheme: "http", host: "localhost", name: "localhost", dial: "localhost:80", loopback: true},
	} {
		got, err := newAPIServer(base)
		require.NoError(t, err)
		require.Equal(t, expected, got)
	}
}
