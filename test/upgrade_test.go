package test

import (
	"crypto/tls"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Java's client and curl with --http2 offer to change to HTTP/2 with every call.
func TestACallThatOffersHTTP2IsAnsweredWithoutIt(t *testing.T) {
	t.Parallel()
	for name, options := range map[string][]pleotest.Option{"the API speaks HTTP/1.1": nil, "the API speaks HTTP/2": {pleotest.WithTLS()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := startPleo(t, options...)
			var c config
			if options != nil {
				c.env = []string{"SSL_CERT_FILE=" + certificateOf(t, e)}
			}
			p := startProxy(t, e, c)
			e.authorise(t, p, "default", company(0))
			for offer, headers := range map[string]string{
				"Java's":          "Connection: Upgrade, HTTP2-Settings\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\nUpgrade: h2c\n",
				"another":         "Connection: Upgrade\nUpgrade: TLS/1.0, h2c\n",
				"of its own kind": "Connection: Upgrade\nUpgrade: fancy\n",
			} {
				a := p.raw(t, "GET /v1/echo HTTP/1.1\nHost: localhost\n"+headers+"\n")
				require.Equal(t, http.StatusOK, a.status, "%s: %s", offer, a.body)
				var echo struct{ Data struct{ Header http.Header } }
				a.decode(t, &echo)
				require.NotContains(t, echo.Data.Header, "Upgrade", offer)
				require.NotContains(t, echo.Data.Header, "Http2-Settings", offer)
			}
			code, out := runProgram(t, nil, nil, "curl", "-sS", "--fail", "--http2", p.URL+"/v2/employees")
			require.Zero(t, code, out)
		})
	}
}

// certificateOf returns a file with the certificate that the emulator's servers have.
func certificateOf(t *testing.T, e *pleo) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(e.APIURL, "https://"), &tls.Config{RootCAs: e.CertPool(), MinVersion: tls.VersionTLS12})
	require.NoError(t, err)
	defer conn.Close()
	file := filepath.Join(t.TempDir(), "pleo.pem")
	certificate := pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&certificate), 0o600))
	return file
}
