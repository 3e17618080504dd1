package pleotest

import (
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Counters say what has reached the emulator and what came of it, since it was
// made or since [Emulator.ResetCounters]. They are not saved with the state.
type Counters struct {
	// AuthoriseRequests are requests for /oauth/authorize, consents that were
	// posted not included.
	AuthoriseRequests int `json:"authorise_requests"`
	// Authorisations are consents that were given, Denials those refused.
	Authorisations int `json:"authorisations"`
	Denials        int `json:"denials"`

	// TokenRequests are all requests that reached the token endpoint, faulty
	// ones included; ExchangeRequests and RefreshRequests those among them that
	// carried a code or a refresh token.
	TokenRequests    int `json:"token_requests"`
	ExchangeRequests int `json:"exchange_requests"`
	RefreshRequests  int `json:"refresh_requests"`
	// Exchanges and Refreshes are those that were processed and issued a pair,
	// whether or not the answer arrived.
	Exchanges int `json:"exchanges"`
	Refreshes int `json:"refreshes"`
	// CodeReplays are codes that came a second time.
	CodeReplays int `json:"code_replays"`
	// Replays are refresh tokens that were spent and came again. It ends the
	// authorisation; in an integration that works this is zero.
	Replays int `json:"replays"`
	// DeadRefreshes are refresh tokens that came after they had expired, been
	// revoked or been killed, without having been spent.
	DeadRefreshes int `json:"dead_refreshes"`
	// ClientRefusals are requests at the token and introspection endpoints that
	// were answered with invalid_client.
	ClientRefusals int `json:"client_refusals"`

	// Introspections are requests that reached the introspection endpoint.
	Introspections int `json:"introspections"`

	// TokenRequestsLimited and IntrospectionsLimited are those that were answered
	// with 429 for a [RateLimit].
	TokenRequestsLimited  int `json:"token_requests_limited"`
	IntrospectionsLimited int `json:"introspections_limited"`

	// TokenRequestsAtOnce, IntrospectionsAtOnce and APICallsAtOnce are the most
	// requests that were under way at the same time: from when a request has
	// arrived until its answer begins or its connection is dropped. A request
	// counts until then, even if its client has given up.
	TokenRequestsAtOnce  int `json:"token_requests_at_once"`
	IntrospectionsAtOnce int `json:"introspections_at_once"`
	APICallsAtOnce       int `json:"api_calls_at_once"`

	// TokenRequestsInASecond and IntrospectionsInASecond are the most requests
	// that arrived within any one second; AuthRequestsInASecond is the same for
	// both endpoints together. Requests answered with 429 count.
	TokenRequestsInASecond  int `json:"token_requests_in_a_second"`
	IntrospectionsInASecond int `json:"introspections_in_a_second"`
	AuthRequestsInASecond   int `json:"auth_requests_in_a_second"`

	// APICalls are all requests that reached the API server.
	APICalls int `json:"api_calls"`
	// DeadTokenCalls are API calls with an access token that had lived once.
	DeadTokenCalls int `json:"dead_token_calls"`
	// TokenlessCalls are API calls without any token.
	TokenlessCalls int `json:"tokenless_calls"`
	// MisplacedTokens are API calls with a token in the query or in a form.
	MisplacedTokens int `json:"misplaced_tokens"`

	// Faults are requests that met a [Fault].
	Faults int `json:"faults"`
}

// Counters returns a snapshot.
func (e *Emulator) Counters() Counters {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counters
}

// ResetCounters starts them at zero again.
func (e *Emulator) ResetCounters() {
	e.count(func(c *Counters) { *c = Counters{} })
}

// traffic is what the counters of requests at once and in a second are the
// highest values of. Unlike them it is not reset.
type traffic struct {
	underWay                map[Endpoint]int
	token, introspect, auth window
}

// arrive counts a request. The function that it returns ends the time that the
// request is under way, once: it is called before the client can see the end of
// the answer, lest the client's next request seem to come beside this one.
func (e *Emulator) arrive(endpoint Endpoint, r *http.Request, form url.Values) (leave func()) {
	e.count(func(c *Counters) {
		if e.traffic.underWay == nil {
			e.traffic.underWay = map[Endpoint]int{}
		}
		e.traffic.underWay[endpoint]++
		now, atOnce := time.Now(), e.traffic.underWay[endpoint]
		switch {
		case endpoint == API:
			c.APICalls++
			c.APICallsAtOnce = max(c.APICallsAtOnce, atOnce)
		case endpoint == Introspect:
			c.Introspections++
			c.IntrospectionsAtOnce = max(c.IntrospectionsAtOnce, atOnce)
			c.IntrospectionsInASecond = max(c.IntrospectionsInASecond, e.traffic.introspect.add(now))
			c.AuthRequestsInASecond = max(c.AuthRequestsInASecond, e.traffic.auth.add(now))
		case endpoint == Authorise && r.Method != http.MethodPost:
			c.AuthoriseRequests++
		case endpoint == Token:
			c.TokenRequests++
			c.TokenRequestsAtOnce = max(c.TokenRequestsAtOnce, atOnce)
			c.TokenRequestsInASecond = max(c.TokenRequestsInASecond, e.traffic.token.add(now))
			c.AuthRequestsInASecond = max(c.AuthRequestsInASecond, e.traffic.auth.add(now))
			switch form.Get("grant_type") {
			case AuthorizationCode:
				c.ExchangeRequests++
			case RefreshToken:
				c.RefreshRequests++
			}
		}
	})
	return sync.OnceFunc(func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.traffic.underWay[endpoint]--
	})
}

func (e *Emulator) count(change func(*Counters)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.countLocked(change)
}

func (e *Emulator) countLocked(change func(*Counters)) {
	change(&e.counters)
	close(e.changed)
	e.changed = make(chan struct{})
}
