package redistest

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
	"os"
	"path/filepath"
	"testing"
	"time"
)

// CA is a certificate authority for one test.
type CA struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	// File is the PEM file of its certificate.
	File string
}

// NewCA makes a certificate authority.
func NewCA(t testing.TB) *CA {
	t.Helper()
	ca := &CA{}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "CA " + rand.Text()}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign,
	}
	ca.certificate, ca.key = ca.sign(t, template)
	ca.File = filepath.Join(t.TempDir(), "ca.pem")
	writePEM(t, ca.File, "CERTIFICATE", ca.certificate.Raw)
	return ca
}

// Pool returns a pool with the authority alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.certificate)
	return pool
}

// Issue makes a certificate for hosts, names or addresses, that servers and
// clients may use, and returns its PEM files.
func (ca *CA) Issue(t testing.TB, hosts ...string) (certificateFile, keyFile string) {
	t.Helper()
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Redis"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	certificate, key := ca.sign(t, template)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("redistest: certificate: %v", err)
	}
	dir := t.TempDir()
	certificateFile, keyFile = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certificateFile, "CERTIFICATE", certificate.Raw)
	writePEM(t, keyFile, "PRIVATE KEY", der)
	return certificateFile, keyFile
}

// Pair is Issue, loaded.
func (ca *CA) Pair(t testing.TB, hosts ...string) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(ca.Issue(t, hosts...))
	if err != nil {
		t.Fatalf("redistest: certificate: %v", err)
	}
	return pair
}

// sign makes a key and has its certificate signed by the authority, or by
// itself if there is none yet.
func (ca *CA) sign(t testing.TB, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("redistest: key: %v", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatalf("redistest: serial: %v", err)
	}
	template.SerialNumber = serial
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := ca.certificate, ca.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatalf("redistest: certificate: %v", err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatalf("redistest: certificate: %v", err)
	}
	return certificate, key
}

func writePEM(t testing.TB, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatalf("redistest: %v", err)
	}
}

// WithTLS makes the server speak TLS on a second port, with a certificate of ca
// for hosts, and ask for a client certificate of ca if clients is true. Servers
// of one set-up speak TLS to each other, too. The first port stays a plain one,
// for the test itself.
func WithTLS(t testing.TB, ca *CA, clients bool, hosts ...string) Option {
	t.Helper()
	certificate, key := ca.Issue(t, hosts...)
	ask := "no"
	if clients {
		ask = "yes"
	}
	return func(s *Server) {
		s.tls = true
		WithConfig("tls-cert-file "+certificate, "tls-key-file "+key,
			"tls-ca-cert-file "+ca.File, "tls-auth-clients "+ask, "tls-replication yes")(s)
	}
}

// peerPort is the port that other servers connect to.
func (s *Server) peerPort() int {
	if s.tls {
		return s.tlsPort
	}
	return s.port
}

// TLSAddr returns the host and port of a server that was started [WithTLS].
func (s *Server) TLSAddr() string { return fmt.Sprintf("127.0.0.1:%d", s.tlsPort) }

// TLSURL is URL over TLS.
func (s *Server) TLSURL() string {
	return fmt.Sprintf("rediss://%s:%s@%s/0", User, Password, s.TLSAddr())
}
