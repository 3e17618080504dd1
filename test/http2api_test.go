package test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Programs with their own defaults, some of which offer HTTP/2 to the proxy, before an
// API that speaks it.
func TestTheExampleClientsWorkBeforeAnAPIThatSpeaksHTTP2(t *testing.T) {
	t.Parallel()
	e := startPleo(t, pleotest.WithTLS())
	p := startProxy(t, e, config{options: "tls_trust_pool file " + certificateOf(t, e)})
	e.authorise(t, p, "default", company(0))
	total, _ := employeesOf(t, p.URL)
	commands := append(commandsIn(t, "README.md", "the clients")[1:],
		need(t, "python3")+" test/testdata/clients/sync_requests.py examples/receipt.pdf",
		need(t, "php")+" test/testdata/clients/sync.php examples/receipt.pdf",
	)
	// curl offers HTTP/2 if it is told to, and then so does the first of them.
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, ".curlrc"), []byte("http2\n"), 0o600))
	for _, command := range commands {
		t.Run(strings.Fields(command)[0]+" "+filepath.Base(strings.Fields(command)[1]), func(t *testing.T) {
			requireTask(t, company(0), total, runCommand(t, command, "PLEO_API="+p.URL, "CURL_HOME="+home))
		})
	}
}
