package caddymodule

import "strconv"

// deniedError is what Pleo's authorisation endpoint has sent a browser back with in
// place of a code (RFC 6749, section 4.1.2.1).
type deniedError struct {
	code, description string
	err               error
}

func (e *deniedError) Error() string { return e.err.Error() }

func (e *deniedError) Unwrap() error { return e.err }

// fault is whose fault a refused authorisation is.
type fault int

const (
	faultOfNobody   fault = iota // the user said no
	faultOfOperator              // the client, or what it asks for, is not as Pleo has it
	faultOfPleo
)

func (e *deniedError) fault() fault {
	switch e.code {
	case "invalid_request", "unauthorized_client", "unsupported_response_type", "invalid_scope":
		return faultOfOperator
	case "server_error", "temporarily_unavailable":
		return faultOfPleo
	}
	return faultOfNobody
}

// longestDescription is how much of a description the log has, in bytes.
const longestDescription = 256

// shortDescription returns the description for the log: of bounded length, and with
// nothing in it that could steer a terminal.
func (e *deniedError) shortDescription() string {
	text := e.description
	if len(text) > longestDescription {
		text = text[:longestDescription] + "…"
	}
	quoted := strconv.QuoteToGraphic(text)
	return quoted[1 : len(quoted)-1]
}
