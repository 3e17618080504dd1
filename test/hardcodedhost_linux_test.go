package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

const (
	// namespaceEnv is set in the process that has a network and a hosts file of
	// its own.
	namespaceEnv = "PLEO_TEST_NAMESPACE"
	// elsewhere is where Pleo is in there: no loopback address, and nobody's.
	elsewhere = "203.0.113.7"
	hosts     = "127.0.0.1 localhost external.pleo.io\n" + elsewhere + " auth.pleo.io pleo-api.example.com\n"
)

// The test runs itself once more, in namespaces: with the hosts file, the port
// 443 and the address of Pleo's that the example is about. Where a machine
// allows none, curl alone shows the same, by an option that takes their place.
func TestAnApplicationWhoseAPIHostIsHardCodedWorksAsItIs(t *testing.T) {
	if os.Getenv(namespaceEnv) != "" {
		inNamespaces(t)
		return
	}
	t.Parallel()
	need(t, "ip")
	arguments, refusal := namespaces(t)
	if arguments == nil {
		t.Logf("this machine allows no network namespaces (%s): curl's --connect-to takes the place of the hosts file, "+
			"and Python, Node and Go are left out", refusal)
		withoutNamespaces(t)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	env := append(os.Environ(), namespaceEnv+"=1", builtEnv+"="+proxyBinary)
	arguments = append(arguments, self, "-test.run", "^"+t.Name()+"$", "-test.v")
	code, out := runProgram(t, env, nil, need(t, "unshare"), arguments...)
	require.Zero(t, code, out)
	require.Contains(t, out, "--- PASS: "+t.Name(), "it has run")
}

// namespaces returns what gives a process namespaces of its own here, as an
// ordinary user or as root, or why nothing does.
func namespaces(t *testing.T) (arguments []string, refusal string) {
	t.Helper()
	for _, arguments := range [][]string{{"--net", "--mount", "--map-root-user"}, {"--net", "--mount"}} {
		out, err := exec.CommandContext(t.Context(), need(t, "unshare"),
			append(arguments, "sh", "-c", "ip link set lo up && mount --bind /etc/hosts /etc/hosts")...).CombinedOutput()
		if err == nil {
			return arguments, ""
		}
		refusal = strings.TrimSpace(string(out))
	}
	return nil, refusal
}

func inNamespaces(t *testing.T) {
	t.Helper()
	for _, command := range []string{"link set lo up", "address add " + elsewhere + "/32 dev lo"} {
		code, out := runProgram(t, os.Environ(), nil, need(t, "ip"), strings.Fields(command)...)
		require.Zero(t, code, out)
	}
	file := filepath.Join(t.TempDir(), "hosts")
	require.NoError(t, os.WriteFile(file, []byte(hosts), 0o644))
	require.NoError(t, syscall.Mount(file, "/etc/hosts", "", syscall.MS_BIND, ""))

	e := startPleo(t, pleotest.WithURLs("https://auth.pleo.io", "https://external.pleo.io"))
	roots, _ := pleoOverTLS(t, e, elsewhere+":443")
	p := startExampleOf(t, e, "hard-coded-host",
		"PLEO_AUTH_SERVER=https://auth.pleo.io", "PLEO_API_ADDRESS=pleo-api.example.com:443", "PLEO_PORT=443", "SSL_CERT_FILE="+roots)
	e.authoriseWith(t, newBrowser(t), p.browserSite(), "default", company(0))

	commands := commandsIn(t, "hard-coded-host/README.md", "the clients")
	require.Len(t, commands, 5, "four languages")
	for _, command := range commands[1:] {
		out := runCommand(t, commands[0]+"\n"+command, "XDG_DATA_HOME="+filepath.Join(p.dir, "data"))
		requireTask(t, company(0), employeesIn(out), out)
	}

	// Without the certificate there is no call, whatever the name says.
	bare := exec.CommandContext(t.Context(), need(t, "python3"), "../examples/python/sync.py", "../examples/receipt.pdf")
	out, err := bare.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "CERTIFICATE_VERIFY_FAILED")
}

func withoutNamespaces(t *testing.T) {
	t.Helper()
	e := startPleo(t)
	roots, address := pleoOverTLS(t, e, net.JoinHostPort(ownAddress(t), "0"))
	port := freePorts(t, 1)
	p := startExampleOf(t, e, "hard-coded-host",
		"PLEO_API_ADDRESS="+address, fmt.Sprintf("PLEO_PORT=%d", port), "SSL_CERT_FILE="+roots)
	e.authoriseWith(t, newBrowser(t), p.browserSite(), "default", company(0))

	curlrc := fmt.Sprintf("connect-to = external.pleo.io:443:127.0.0.1:%d\n", port)
	require.NoError(t, os.WriteFile(filepath.Join(p.dir, ".curlrc"), []byte(curlrc), 0o600))
	commands := commandsIn(t, "hard-coded-host/README.md", "the clients")
	require.Contains(t, commands[1], "curl")
	out := runCommand(t, commands[0]+"\n"+commands[1], "XDG_DATA_HOME="+filepath.Join(p.dir, "data"), "CURL_HOME="+p.dir)
	requireTask(t, company(0), employeesIn(out), out)
}

// employeesIn counts the lines before the one about export items.
func employeesIn(out string) int {
	before, _, _ := strings.Cut(out, "export items:")
	return strings.Count(before, "\n")
}

// ownAddress is one of this machine's that is not loopback: the proxy takes
// Pleo's API behind a loopback address for itself.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
			return ip.IP.String()
		}
	}
	require.FailNow(t, "this machine allows no network namespaces, and has no address but loopback: the example cannot be tried here")
	return ""
}

// pleoOverTLS serves the emulator as the names of Pleo's production, and
// returns a file with the certificate, and the address.
func pleoOverTLS(t *testing.T, e *pleo, address string) (roots, at string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Pleo's, for a test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		DNSNames: []string{"auth.pleo.io", "external.pleo.io"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case "auth.pleo.io":
			e.Auth.ServeHTTP(w, r)
		case "external.pleo.io":
			e.API.ServeHTTP(w, r)
		default:
			http.Error(w, "neither of Pleo's servers", http.StatusMisdirectedRequest)
		}
	}))
	require.NoError(t, server.Listener.Close())
	server.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
	require.NoError(t, err)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	roots = filepath.Join(t.TempDir(), "pleo.pem")
	require.NoError(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return roots, server.Listener.Addr().String()
}
