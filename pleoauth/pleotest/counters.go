package pleotest

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
