package caddymodule

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

// RedisTLS says how TLS to Redis is spoken. The server's certificate is always
// checked.
type RedisTLS struct {
	// PEM files with the certificates that the server's is checked against.
	// Default: the system's.
	CAFiles []string `json:"ca_files,omitempty"`

	// The PEM file of a client certificate. Default: none.
	CertificateFile string `json:"certificate_file,omitempty"`

	// The PEM file of its key. Default: none.
	KeyFile string `json:"key_file,omitempty"`

	// The name in the server's certificate. Default: the host connected to.
	ServerName string `json:"server_name,omitempty"`
}

// apply sets the options' TLS up, and returns the content of the files: a
// reload with other ones is another store.
func (t *RedisTLS) apply(r resolver, o *redisstore.Options) ([]byte, error) {
	if t == nil {
		return nil, nil
	}
	if o.TLS == nil {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	var err error
	if t.ServerName != "" {
		if o.TLS.ServerName, err = r.option("tls server_name", t.ServerName); err != nil {
			return nil, err
		}
	}
	var content []byte
	for _, file := range t.CAFiles {
		pem, err := readFile(r, "tls ca", file)
		if err != nil {
			return nil, err
		}
		if o.TLS.RootCAs == nil {
			o.TLS.RootCAs = x509.NewCertPool()
		}
		if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls ca: %s holds no certificate", file)
		}
		content = append(content, pem...)
	}
	if t.CertificateFile == "" && t.KeyFile == "" {
		return content, nil
	}
	if t.CertificateFile == "" || t.KeyFile == "" {
		return nil, errors.New("tls certificate: certificate and key belong together")
	}
	certificate, err := readFile(r, "tls certificate", t.CertificateFile)
	if err != nil {
		return nil, err
	}
	key, err := readFile(r, "tls certificate", t.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("tls certificate: %w", err)
	}
	o.TLS.Certificates = []tls.Certificate{pair}
	return append(append(content, certificate...), key...), nil
}

func readFile(r resolver, option, file string) ([]byte, error) {
	path, err := r.option(option, file)
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path) //nolint:gosec // the operator's own file
	if err != nil {
		return nil, fmt.Errorf("%s: %w", option, err)
	}
	return content, nil
}
