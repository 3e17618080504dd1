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
// # What to test, and how
//
// The pair arrives whole, and the answer is odd. The old pair is dead, so a
// client that gives up here has lost the connection:
//
//	// chunked, and the last chunk never comes: FIN. With Reset: true, RST
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Transfer: pleotest.NoLastChunk})
//	// Content-Length is one too large
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Transfer: pleotest.LengthTooLarge})
//	// no length, and a RST where the body ends
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Transfer: pleotest.NoLength, Reset: true})
//	// compressed; a byte order mark; a comment; a line feed in the token
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Gzip: true})
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Prefix: "\ufeff"})
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Suffix: "<!-- cached -->"})
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Pad: map[string]pleotest.Padding{"access_token": {After: "\n"}}})
//
// The server answers 502 and processes the request all the same, 1.5 seconds
// later. The code that is then redeemed kills the pair of the consent before,
// if the two are one authorisation:
//
//	pleo.SetSecondConsentReplacing(true)
//	pleo.Fault(pleotest.Fault{
//		Endpoint:     pleotest.Token,
//		GrantType:    pleotest.AuthorizationCode,
//		Status:       http.StatusBadGateway,
//		Process:      pleotest.ProcessedLater,
//		ProcessAfter: 1500 * time.Millisecond,
//	})
//
// A request is taken and never answered: hold it, and release nothing. With
// [AfterProcessing] it has taken effect:
//
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Hold: pleotest.BeforeProcessing})
//
// The token and introspection endpoints answer 429 from the eleventh request in
// a second on. Retry-After is a date, by a clock that is two minutes ahead.
// [Counters] has the most requests in a second and at once:
//
//	pleo := pleotest.NewServer(
//		pleotest.WithRateLimit(pleotest.RateLimit{Requests: 10, RetryAfter: pleotest.HTTPDate}),
//		pleotest.WithClockAhead(2*time.Minute))
//
// The introspection endpoint does not know refresh tokens: it calls them
// inactive, or answers 404 with Status: 404:
//
//	err := pleo.SetIntrospection(pleotest.Introspection{Unknown: []pleotest.TokenKind{pleotest.RefreshToken}})
//
// A server that speaks HTTP/2 ([WithTLS]) closes the connection by a GOAWAY, and
// has not processed the call. With [AfterProcessing] or [MidBody] it has:
//
//	pleo.Fault(pleotest.Fault{Endpoint: pleotest.API, Drop: pleotest.BeforeProcessing, GoAway: true})
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
