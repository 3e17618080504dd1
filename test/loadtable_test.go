package test

import (
	"net/http"
	"slices"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// How a row of the failure table ends.
const (
	endsConnected = "connected"
	endsRevoked   = "401 reauthorisation-required revoked_or_expired"
	endsLost      = "401 reauthorisation-required lost_response"
	endsPostponed = "503 refresh-failed"
)

// What callers see on the way, beside 200.
const (
	seesUnsettled = "503 refresh-unsettled"
	seesFailed    = "503 refresh-failed"
	seesRejected  = "502 client-rejected"
)

// failure is a row of the failure table: what goes wrong with one refresh, and
// what has to come of it.
type failure struct {
	name  string
	fault pleotest.Fault
	// refused lets the token endpoint refuse connections instead.
	refused bool
	// posts is how many requests with a refresh token the token endpoint gets. asks is
	// how many questions about refresh tokens there may be, the one before the first of
	// them included, access how many about access tokens.
	posts, asks, access int
	// sees is what some caller is answered before the end. Any may be told that it
	// is not settled or has failed for now: on a busy machine all takes longer.
	sees []string
	ends string
	// short lets the next token live no longer than the one before.
	short bool
	// alike is set where another row is treated the same: then the long selection
	// alone has it.
	alike bool
}

// notProcessed completes rows in which Pleo did nothing: after the mark it is
// asked, and the refresh is done again. Pleo is asked before the first request,
// early, about both tokens, and about the refresh token when the mark is over.
func notProcessed(rows ...failure) []failure {
	for i := range rows {
		rows[i].posts, rows[i].asks, rows[i].access = 2, 3, 1
		rows[i].sees, rows[i].ends = []string{seesUnsettled}, endsConnected
	}
	return rows
}

// processed completes rows in which the only copy of the new pair is lost. Pleo is
// asked before the request, and thrice after it, the first time about both tokens.
func processed(rows ...failure) []failure {
	for i := range rows {
		rows[i].posts, rows[i].asks, rows[i].access = 1, 4, 1
		rows[i].sees, rows[i].ends = []string{seesUnsettled}, endsLost
	}
	return rows
}

func answered(status int, body string) pleotest.Fault {
	return pleotest.Fault{Status: status, Body: body}
}

func (f failure) processedAs(p pleotest.Processing) failure {
	f.fault.Process = p
	return f
}

const failurePage = "<html><body>It is not you, it is us.</body></html>"

// failures returns the table. (RFC 6749, section 5.2, and what the ways to a
// server have to offer.)
func failures(tokenURL string) []failure {
	elsewhere := http.Header{"Location": {tokenURL + "?moved"}}
	soon, inAnHour := http.Header{"Retry-After": {"1"}}, http.Header{"Retry-After": {"3600"}}
	badJSON := failure{name: "200 bad JSON", fault: answered(200, `{"access_token":`)}
	failed := failure{name: "500", fault: answered(500, failurePage)}

	table := []failure{
		{name: "400 invalid_grant", fault: answered(400, `{"error":"invalid_grant"}`), posts: 1, asks: 1, ends: endsRevoked},
		{name: "400 invalid_refresh_token", alike: true, fault: answered(400, `{"error":"invalid_refresh_token"}`), posts: 1, asks: 1, ends: endsRevoked},
		{name: "401 invalid_client", fault: answered(401, `{"error":"invalid_client"}`), posts: 2, asks: 2, access: 1, sees: []string{seesRejected}, ends: endsConnected},
		{name: "400 unauthorized_client", alike: true, fault: answered(400, `{"error":"unauthorized_client"}`), posts: 2, asks: 2, access: 1, sees: []string{seesRejected}, ends: endsConnected},
		{name: "429 Retry-After 1", fault: pleotest.Fault{Status: 429, Header: soon}, posts: 2, asks: 2, access: 1, sees: []string{seesFailed}, ends: endsConnected},
		{name: "429 Retry-After 3600", fault: pleotest.Fault{Status: 429, Header: inAnHour}, posts: 1, asks: 1, ends: endsPostponed},
		{name: "200 without refresh_token", fault: pleotest.Fault{Omit: []string{"refresh_token"}}, posts: 1, asks: 4, sees: []string{seesUnsettled}, ends: endsLost, short: true},
		{name: "answered after refresh_timeout", fault: pleotest.Fault{DelayAfter: 3 * time.Second}, posts: 1, asks: 1, sees: []string{seesUnsettled}, ends: endsConnected},
		{name: "processed after refresh_timeout", fault: pleotest.Fault{DelayBefore: 3 * time.Second}, posts: 1, asks: 1, sees: []string{seesUnsettled}, ends: endsConnected},
		// Pleo calls the token dead, and is asked twice more before the pair counts as
		// lost: the answer comes before.
		{name: "answered after the mark", fault: pleotest.Fault{DelayAfter: 9 * time.Second}, posts: 1, asks: 2, sees: []string{seesUnsettled}, ends: endsConnected},
		// Nobody can know that the answer will come after all: until it does, the
		// pair counts as lost. Then Pleo is asked whether it lives.
		{name: "answered after it counted as lost", fault: pleotest.Fault{DelayAfter: 22 * time.Second}, posts: 1, asks: 5, sees: []string{seesUnsettled, endsLost}, ends: endsConnected},
		{name: "connection refused", refused: true, posts: 1, asks: 1, sees: []string{seesFailed}, ends: endsConnected},
	}
	table = append(table, notProcessed(
		badJSON,
		failure{name: "400 another code", fault: answered(400, `{"error":"invalid_request"}`)},
		failure{name: "403 HTML", fault: answered(403, failurePage)},
		failure{name: "404", alike: true, fault: answered(404, failurePage)},
		failure{name: "408", alike: true, fault: answered(408, "")},
		failure{name: "307", fault: pleotest.Fault{Status: 307, Header: elsewhere}},
		failure{name: "308", alike: true, fault: pleotest.Fault{Status: 308, Header: elsewhere}},
		failed,
		failure{name: "503", alike: true, fault: pleotest.Fault{Status: 503, Header: soon, Body: failurePage}},
		failure{name: "connection dropped before processing", fault: pleotest.Fault{Drop: pleotest.BeforeProcessing}},
		failure{name: "connection reset before processing", alike: true, fault: pleotest.Fault{Drop: pleotest.BeforeProcessing, Reset: true}},
	)...)
	later := failed.processedAs(pleotest.ProcessedLater)
	later.fault.ProcessAfter = 2 * time.Second
	later.name = "500, processed later"
	lost := processed(
		badJSON.processedAs(pleotest.ProcessedFirst),
		failure{name: "200 without access_token", fault: pleotest.Fault{Omit: []string{"access_token"}}},
		failed.processedAs(pleotest.ProcessedFirst),
		later,
		failure{name: "connection dropped after processing", fault: pleotest.Fault{Drop: pleotest.AfterProcessing}},
		failure{name: "connection reset after processing", alike: true, fault: pleotest.Fault{Drop: pleotest.AfterProcessing, Reset: true}},
		failure{name: "connection dropped in the answer", fault: pleotest.Fault{Drop: pleotest.MidBody}},
	)
	for i := range lost {
		switch lost[i].fault.Process {
		case pleotest.ProcessedFirst:
			lost[i].name += ", processed"
		case pleotest.ProcessedLater:
			lost[i].asks = 5 // it is active when it is asked about early
		case pleotest.NotProcessed:
		}
	}
	table = append(table, lost...)
	if !*long {
		table = slices.DeleteFunc(table, func(f failure) bool { return f.alike })
	}
	return table
}
