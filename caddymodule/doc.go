// Package caddymodule makes package pleoauth a part of Caddy: an app that keeps
// grants alive, a transport that puts tokens into calls, and the handlers that
// a browser passes when a company is connected. Importing it registers them:
//
//	pleo                               the app, and the Caddyfile's global option
//	pleo.stores.redis                  where grants are kept, shared by replicas
//	pleo.stores.caddy                  the same in Caddy's own storage, one process
//	http.reverse_proxy.transport.pleo  the application's way out
//	http.handlers.pleo_authorise       sends a browser to Pleo
//	http.handlers.pleo_callback        takes it back
//	http.handlers.pleo_health          says whether calls can be served
//	admin.api.pleo                     connections, on Caddy's admin endpoint
//
// The directive pleo_proxy is short for reverse_proxy with the transport, and
// no module of its own.
package caddymodule
