// Command pleo-auth-proxy is Caddy with all of its standard modules and the
// Pleo modules of this project.
package main

import (
	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule"
)

func main() {
	if caddy.CustomVersion == "" { // unless the build says otherwise
		caddy.CustomVersion = caddymodule.Version()
	}
	caddy.CustomBinaryName = "pleo-auth-proxy" // what shells complete, and usage says
	caddycmd.Main()
}
