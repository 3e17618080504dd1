// Package pleotest emulates Pleo's two servers, the authorisation server and
// the external API, so that an integration can be tested without an account
// and without the network.
//
// It is strict where Pleo is strict. Redirect URIs match character for
// character, PKCE with S256 is required, a code works once, every refresh
// kills the whole previous pair, and a refresh token that is spent twice costs
// the authorisation. What goes wrong at a real server can be made to go wrong
// here: see [Fault]. What an integration did can be asked: see [Counters].
//
// # In a Go test
//
//	pleo := pleotest.NewServer(pleotest.WithRedirectURI("http://localhost/callback"))
//	defer pleo.Close()
//
//	// Point the integration at pleo.AuthURL, pleo.APIURL, pleo.ClientID and
//	// pleo.ClientSecret, then play the user who clicks Approve:
//	callback, err := pleo.Approve(authoriseURL, "")
//
//	// Let the next refresh be processed, and its answer be lost:
//	pleo.Fault(pleotest.Fault{
//		Endpoint:  pleotest.Token,
//		GrantType: pleotest.RefreshToken,
//		Drop:      pleotest.AfterProcessing,
//	})
//
//	// And see what the integration made of it:
//	require.Zero(t, pleo.Counters().Replays)
//
// A test that only needs a token calls [Emulator.Issue]. A test that must not
// wait for real time runs in a testing/synctest bubble with [WithInMemory].
//
// # In a program
//
// [StartServer] listens on given addresses ([WithAuthAddress],
// [WithAPIAddress], [WithControlAddress]), over TLS if asked ([WithTLS]), and
// keeps its state in a file ([WithStateFile]), so that an integration is still
// connected after a restart. A person who opens the authorisation address gets
// a consent page to click. [Emulator] has the bare http.Handlers.
//
// # The API
//
// Three companies, each with data of its own that is the same in every run:
//
//	GET    /v1/introspect                    the API's own view of the token
//	GET    /v1/companies
//	GET    /v2/employees                     users:read; paged by limit, after, before
//	GET    /v3/export-items                  export:read or export-items:read; paged
//	GET    /v3/export-jobs                   export:read or export-jobs:read; paged
//	POST   /v3/export-jobs                   export:write or export-jobs:write
//	GET    /v3/export-job-items              export:read or export-jobs:read; paged
//	POST   /v3/export-job-items:search       the same
//	GET    /v0/tag-groups                    export:read or tags:read
//	GET    /v0/tax-codes:search              export:read or tax-codes:read
//	POST   /v1/receipts                      reads the body, answers its size and SHA-256
//	GET    /v1/receipts/{id}                 the id, and the raw path as it arrived
//	PUT    /v1/receipts/{id}                 both
//	DELETE /v1/receipts/{id}
//	GET    /v1/export-stream                 rows (10) of NDJSON, one each interval (100ms)
//	GET    /v1/echo                          method, raw path, query and headers that arrived
//	GET    /v1/echo-socket                   a WebSocket that echoes
//
// Routes without a scope take every live token. JSON answers carry an ETag.
//
// # From another process
//
// [Emulator.Control] is a third handler, which [Server] serves at ControlURL.
// Bodies are JSON (Content-Type: application/json), durations are texts such
// as "500ms".
//
//	GET    /counters              Counters
//	DELETE /counters              starts them at zero again
//	GET    /faults                the faults that are set, and how often each was met
//	POST   /faults                sets a Fault: {"endpoint":"token","drop":"after"}; answers {"id":…}
//	DELETE /faults                removes all
//	DELETE /faults/{id}           removes one
//	POST   /faults/{id}/release   lets go what it holds
//	POST   /revoke                {"company":…,"authorisation":…,"client_id":…,"token":…,"kind":…,"expire":false}:
//	                              kind is access_token, refresh_token or absent for both
//	POST   /access-token-life     {"life":"1m"}
//	POST   /consent               {"decision":"ask|approve|deny","company":…}
//	POST   /approve, /deny        {"url":…,"company":…}: answers {"redirect":…}
//	POST   /issue                 {"client_id":…,"company":…,"scope":…}: a pair of tokens
//	POST   /refuse-early          {"early":true}: see WithEarlyRefusal
//	POST   /second-consent        {"replacing":true}: see WithSecondConsentReplacing
//	POST   /rate-limit            {"requests":10,"token":5,"introspect":5,"retry_after":"seconds|date|none","wait":"7s"}:
//	                              see RateLimit; {} for no limit
//	POST   /clock                 {"ahead":"1h"}: see WithClockAhead
//	POST   /introspection         {"unknown":["refresh_token","access_token"],"status":404}: see Introspection;
//	                              {} knows all
//	GET    /state                 clients, companies and authorisations, without secrets or tokens
//	GET    /secrets               see Emulator.Secrets
//
// The control handler has no authentication: keep it on loopback.
//
// # Not Pleo
//
// This package is not affiliated with Pleo. What it knows comes from Pleo's
// developer documentation, cited as "Pleo's documentation: <page>". Where that
// is silent the emulator has an option, or says what it assumes.
package pleotest
