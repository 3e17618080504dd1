package main

import (
	"fmt"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// guide says what to open and what to curl.
func guide(s settings, pleo *pleotest.Server) string {
	return fmt.Sprintf(`pleo-demo: an emulator in Pleo's place, and the proxy in front of it

  1. open     %[1]s/pleo/authorise
              and approve: this connects a company, once

  2. run      curl http://127.0.0.1:%[2]d/v2/employees
              no token, no secret; access tokens live for %[3]v and are
              refreshed while they are used

  health      http://127.0.0.1:%[2]d/healthz
  connections %[1]s/pleo/status, or
              go run ./cmd/pleo-auth-proxy pleo connections --address http://127.0.0.1:%[2]d
  the page    %[1]s/
  the log     %[4]s/proxy.log
  emulator    %[5]s, %[6]s

Ctrl-C stops it. Its state is in %[4]s: delete that to start anew.
`, s.origin(), s.port, s.life, s.dir, pleo.AuthURL, pleo.APIURL)
}

// emulatorGuide says what to configure a proxy with.
func emulatorGuide(s settings, pleo *pleotest.Server) string {
	return fmt.Sprintf(`pleo-demo: the emulator alone

  PLEO_AUTH_SERVER=%s
  PLEO_API_SERVER=%s
  PLEO_CLIENT_ID=%s
  PLEO_CLIENT_SECRET=%s
  PLEO_REDIRECT_URI=%s

Access tokens live for %v. Its state is in %s.
`, s.emulatorURL(1), s.emulatorURL(2), pleo.ClientID, pleo.ClientSecret, s.redirectURI(), s.life, s.dir)
}
