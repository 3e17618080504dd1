package pleotest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Server is an [Emulator] that listens, in the manner of httptest.Server.
type Server struct {
	*Emulator

	// AuthURL, APIURL and ControlURL are where the handlers are served, as
	// "http://127.0.0.1:1234" without a slash at the end.
	AuthURL    string
	APIURL     string
	ControlURL string
	// ClientID and ClientSecret are those of the first client.
	ClientID     string
	ClientSecret string

	certificate *x509.Certificate
	servers     []*http.Server
	memory      map[string]*memoryListener
	serving     sync.WaitGroup
}

// NewServer starts an emulator on free ports of 127.0.0.1, for tests. It panics
// if it cannot. The caller must call Close.
func NewServer(options ...Option) *Server {
	s, err := StartServer(options...)
	if err != nil {
		panic("pleotest: " + err.Error())
	}
	return s
}

// StartServer is [NewServer] for programs: it returns an error.
func StartServer(options ...Option) (*Server, error) {
	settings, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	s := &Server{
		ClientID: settings.clients[0].ID, ClientSecret: settings.clients[0].Secret,
		memory: map[string]*memoryListener{},
	}
	var secure *tls.Config
	if settings.tls {
		certificate, err := newCertificate(
			"auth.pleo.test", "api.pleo.test", host(settings.authAddress), host(settings.apiAddress))
		if err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
		s.certificate = certificate.Leaf
		secure = &tls.Config{
			Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12,
			NextProtos: []string{"h2", "http/1.1"},
		}
	}
	var listeners []net.Listener
	closeAll := func() {
		for _, l := range listeners {
			_ = l.Close()
		}
	}
	for _, at := range []struct {
		name, address string
		secure        *tls.Config
		url           *string
	}{
		{"auth.pleo.test", settings.authAddress, secure, &s.AuthURL},
		{"api.pleo.test", settings.apiAddress, secure, &s.APIURL},
		{"control.pleo.test", settings.controlAddress, nil, &s.ControlURL},
	} {
		listener, address, err := s.listen(settings.inMemory, at.name, at.address)
		if err != nil {
			closeAll()
			return nil, err
		}
		*at.url = "http://" + address
		if at.secure != nil {
			listener, *at.url = tls.NewListener(listener, at.secure), "https://"+address
		}
		listeners = append(listeners, listener)
	}
	settings.authURL = cmp.Or(settings.authURL, s.AuthURL)
	settings.apiURL = cmp.Or(settings.apiURL, s.APIURL)
	if s.Emulator, err = newEmulator(settings); err != nil {
		closeAll()
		return nil, err
	}
	for i, handler := range []http.Handler{s.Auth, s.API, s.Control} {
		s.serve(listeners[i], handler, settings.tls && i < 2)
	}
	return s, nil
}

func (s *Server) listen(inMemory bool, name, address string) (net.Listener, string, error) {
	if inMemory {
		listener := newMemoryListener(name)
		s.memory[name] = listener
		return listener, name, nil
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, "", fmt.Errorf("listening: %w", err)
	}
	return listener, listener.Addr().String(), nil
}

func (s *Server) serve(listener net.Listener, handler http.Handler, secure bool) {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	if secure {
		second, handedOver := http2Server(server, listener.Addr().String())
		s.run(second, handedOver)
	}
	s.run(server, listener)
}

func (s *Server) run(server *http.Server, listener net.Listener) {
	s.servers = append(s.servers, server)
	s.serving.Go(func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("serving ended", "error", err)
		}
	})
}

// Close ends every request and connection, and returns when nothing of the
// server runs any more. A state file is as of the last change.
func (s *Server) Close() {
	s.Emulator.Close()
	for _, server := range s.servers {
		_ = server.Close()
	}
	s.serving.Wait()
	s.handlers.Wait()
}

// CertPool returns what a client has to trust that talks to a server made
// [WithTLS]; nil without.
func (s *Server) CertPool() *x509.CertPool {
	if s.certificate == nil {
		return nil
	}
	pool := x509.NewCertPool()
	pool.AddCert(s.certificate)
	return pool
}

// CertPEM is [Server.CertPool] as PEM, for programs that read it from a file.
func (s *Server) CertPEM() []byte {
	if s.certificate == nil {
		return nil
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.certificate.Raw})
}

// DialContext connects to a server made [WithInMemory] by the host of its URL,
// and to any other through the network. It fits http.Transport.
func (s *Server) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if listener, ok := s.memory[host(address)]; ok {
		return listener.dial(ctx)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

// HTTPClient returns a client that reaches and trusts the server. It speaks
// HTTP/1.1, unless its http.Transport is told to attempt HTTP/2, and does not
// follow redirects, since what they say is what a test wants to see, and every
// call of HTTPClient has connections of its own.
func (s *Server) HTTPClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:     s.DialContext,
			TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12},
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// host is an address without its port.
func host(address string) string {
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return strings.Trim(address, "[]")
}
