package redisstore_test

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/storetest"
)

func TestTLSServerConforms(t *testing.T) {
	ca := redistest.NewCA(t)
	server := redistest.Start(t, redistest.WithTLS(t, ca, true, "127.0.0.1"))
	o := options(t, server.TLSURL())
	o.TLS.RootCAs, o.TLS.Certificates = ca.Pool(), []tls.Certificate{ca.Pair(t)}
	storetest.Run(t, opener(o), storetest.Features{SharedNotices: true})
}

func TestTLSIsVerifiedOnBothSides(t *testing.T) {
	ca, other := redistest.NewCA(t), redistest.NewCA(t)
	public := redistest.Start(t, redistest.WithTLS(t, ca, false, "redis.internal"))
	clients := redistest.Start(t, redistest.WithTLS(t, ca, true, "127.0.0.1"))
	own, foreign := []tls.Certificate{ca.Pair(t)}, []tls.Certificate{other.Pair(t)}
	for name, c := range map[string]struct {
		server       *redistest.Server
		roots        *x509.CertPool
		serverName   string
		certificates []tls.Certificate
		works        bool
		err          string
	}{
		"the right name":                       {public, ca.Pool(), "redis.internal", nil, true, ""},
		"by the system's authorities":          {public, nil, "redis.internal", nil, false, "unknown authority"},
		"by another authority":                 {public, other.Pool(), "redis.internal", nil, false, "unknown authority"},
		"another name":                         {public, ca.Pool(), "redis.example.com", nil, false, "certificate is valid for redis.internal"},
		"the address alone":                    {public, ca.Pool(), "", nil, false, "127.0.0.1"},
		"a client's certificate":               {clients, ca.Pool(), "", own, true, ""},
		"no client's certificate":              {clients, ca.Pool(), "", nil, false, ""}, // the alert, or a reset that overtakes it
		"a client's certificate of another CA": {clients, ca.Pool(), "", foreign, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, c.server.TLSURL())
			o.TLS.RootCAs, o.TLS.ServerName, o.TLS.Certificates = c.roots, c.serverName, c.certificates
			store := open(t, o)
			err := store.Ping(t.Context())
			if c.works {
				require.NoError(t, err)
				require.NoError(t, store.Watch(t.Context(), "acme"))
				return
			}
			require.ErrorContains(t, err, c.err)
			require.ErrorContains(t, store.Watch(t.Context(), "acme"), c.err)
		})
	}
}

func TestSentinelOverTLSConforms(t *testing.T) {
	ca := redistest.NewCA(t)
	overTLS := redistest.WithTLS(t, ca, true, "127.0.0.1")
	s := redistest.StartSentinelWith(t, []redistest.Option{overTLS}, overTLS)
	o := sentinelOptions(s)
	o.Addresses = nil
	for _, sentinel := range s.Sentinels {
		o.Addresses = append(o.Addresses, sentinel.TLSAddr())
	}
	o.TLS = &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Pair(t)}}
	storetest.Run(t, opener(o), storetest.Features{SharedNotices: true})

	o.TLS = &tls.Config{RootCAs: redistest.NewCA(t).Pool(), Certificates: o.TLS.Certificates}
	require.Error(t, open(t, o).Ping(t.Context()), "another authority")
}

func TestClusterOverTLSConforms(t *testing.T) {
	ca := redistest.NewCA(t)
	c := redistest.StartCluster(t, 3, redistest.WithTLS(t, ca, true, "127.0.0.1"))
	o := clusterOptions(c)
	o.Addresses = []string{c.Nodes[0].TLSAddr()}
	o.TLS = &tls.Config{RootCAs: ca.Pool(), Certificates: []tls.Certificate{ca.Pair(t)}}
	storetest.Run(t, opener(o), storetest.Features{SharedNotices: true})

	o.TLS = &tls.Config{RootCAs: redistest.NewCA(t).Pool(), Certificates: o.TLS.Certificates}
	require.Error(t, open(t, o).Ping(t.Context()), "another authority")
}
