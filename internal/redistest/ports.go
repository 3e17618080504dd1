package redistest

import (
	"errors"
	"net"
)

// startOn chooses again while the server does not start: another process may take
// the port between the choice and the start.
func (s *Server) startOn(choosePorts func() error) (err error) {
	for range 10 {
		if err := choosePorts(); err != nil {
			return err
		}
		if err = s.start(); err == nil {
			return nil
		}
	}
	return err
}

func (s *Server) choosePorts() (err error) {
	s.do(func() {
		if s.port, err = freePort(); err == nil && s.tls {
			s.tlsPort, err = freePort()
		}
	})
	return err
}

func freePort() (int, error) {
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		port := l.Addr().(*net.TCPAddr).Port
		if err := l.Close(); err != nil {
			return 0, err
		}
		// The bus of a Cluster node listens 10,000 above its port.
		if port+10_000 < 65_536 {
			return port, nil
		}
	}
	return 0, errors.New("no free port below 55536")
}
