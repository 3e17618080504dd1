package pleotest

import (
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Endpoint is a part of the emulator that a [Fault] can be set on.
type Endpoint string

// The endpoints.
const (
	Authorise  Endpoint = "authorise"
	Token      Endpoint = "token"
	Introspect Endpoint = "introspect"
	API        Endpoint = "api"
)

// Stage is a moment in the life of a request.
type Stage string

// The stages.
const (
	// BeforeProcessing is when the request has been read and nothing been done.
	BeforeProcessing Stage = "before"
	// AfterProcessing is when all has been done and nothing been answered.
	AfterProcessing Stage = "after"
	// MidBody is when the headers and half of the body have been sent. Only for
	// [Fault.Drop].
	MidBody Stage = "mid-body"
)

// Processing says what becomes of a request that is answered with a status
// that its fault gives.
type Processing string

// The ways.
const (
	// NotProcessed is the default: the request has no effect.
	NotProcessed Processing = ""
	// ProcessedFirst lets the request take effect, and then hides the answer.
	ProcessedFirst Processing = "first"
	// ProcessedLater answers at once, and lets the request take effect
	// [Fault.ProcessAfter] later.
	ProcessedLater Processing = "later"
)

// Always in [Fault.Times] lets a fault stand until it is removed.
const Always = -1

// Fault is something that goes wrong, and the requests that it happens to. What
// is left empty does not narrow and does not happen. Where several things are
// set they happen in this order: delay, hold and drop before processing;
// processing; delay, hold and drop after it; the answer. The answer is changed
// in this order: Pad, Set and Omit; Prefix and Suffix; Gzip; Transfer.
//
// Delays and holds do not end when the client hangs up: a server finishes what
// it has begun.
type Fault struct {
	// Endpoint, GrantType, ClientID, Company, Kind, Method and Path select
	// requests. GrantType is [AuthorizationCode] or [RefreshToken], at the token
	// endpoint. Company is the id, URN or name of the company whose token or
	// code the request carries, and Kind the kind of that token. Path is compared
	// whole, still escaped.
	Endpoint  Endpoint
	GrantType string
	ClientID  string
	Company   string
	Kind      TokenKind
	Method    string
	Path      string
	// Match narrows further. It must not call the emulator. Not available over
	// HTTP.
	Match func(*http.Request) bool
	// Skip lets that many selected requests pass first. Default 0.
	Skip int
	// Times is how many requests the fault happens to. Default 1; [Always] for
	// all of them.
	Times int

	// DelayBefore and DelayAfter wait before and after processing.
	DelayBefore time.Duration
	DelayAfter  time.Duration
	// Hold stops before or after processing until [ActiveFault.Release].
	Hold Stage
	// Drop ends the connection instead of answering, with a FIN, or with a RST if
	// Reset is set. Before processing, the API has not read the body yet: then
	// the system may make a RST of a FIN.
	Drop Stage
	// Transfer ends the connection after an answer that is whole, and says how
	// the answer shows its end. With a FIN, too, or with a RST.
	Transfer Transfer
	// Reset makes the end of a connection, by Drop or Transfer, a RST. It comes
	// when the client's system has received what was sent before. In memory
	// ([WithInMemory]), the client's reads and writes fail with ECONNRESET.
	Reset bool
	// GoAway is for HTTP/2 ([WithTLS]), where Drop and Transfer reset the
	// request's stream and the connection goes on: it ends the connection by a
	// GOAWAY instead. At [BeforeProcessing] that says that the request was not
	// processed, so a client may send it again; later, that it may have been. It
	// names one stream for all: let there be one request at a time on the
	// connection. Without Drop and Transfer the answer comes whole, and the
	// connection ends after it, as "Connection: close" makes it do in HTTP/1.1.
	GoAway bool

	// Status, Header and Body are an answer in place of ours; Process says what
	// becomes of the request. Without a Content-Type the body is taken for JSON
	// if it looks like it, for HTML otherwise.
	Status       int
	Header       http.Header
	Body         string
	Process      Processing
	ProcessAfter time.Duration

	// Set and Omit change members of our JSON answer: {"expires_in": "900"},
	// "refresh_token". A json.RawMessage puts in what Go cannot hold. What the
	// emulator does is not changed by what it says.
	Set  map[string]any
	Omit []string
	// Pad puts text around string members of our JSON answer, inside the string:
	// {"access_token": {After: "\n"}} for a token with a line feed at its end.
	Pad map[string]Padding
	// Prefix and Suffix are sent before and after the body of an answer, ours or
	// Body: a byte order mark ("\ufeff"), a comment.
	Prefix string
	Suffix string
	// Gzip compresses the body, after all other changes, and says so in
	// Content-Encoding. What the client accepts is not looked at.
	Gzip bool

	// AccessDeadOnArrival and RefreshDeadOnArrival let the token endpoint issue
	// a token that is dead already.
	AccessDeadOnArrival  bool
	RefreshDeadOnArrival bool
	// Lag lets introspection answer as of so long ago.
	Lag time.Duration
}

func (f *Fault) check() error {
	switch f.Endpoint {
	case "", Authorise, Token, Introspect, API:
	default:
		return fmt.Errorf("no endpoint %q", f.Endpoint)
	}
	switch f.Hold {
	case "", BeforeProcessing, AfterProcessing:
	default:
		return fmt.Errorf("cannot hold at %q", f.Hold)
	}
	switch f.Drop {
	case "", BeforeProcessing, AfterProcessing, MidBody:
	default:
		return fmt.Errorf("cannot drop at %q", f.Drop)
	}
	switch f.Transfer {
	case "", ExactLength, LengthTooLarge, LengthTooSmall, NoLength, NoLastChunk:
	default:
		return fmt.Errorf("no transfer %q", f.Transfer)
	}
	for name := range f.Pad {
		if _, ok := f.Set[name]; ok {
			return fmt.Errorf("%q is both set and padded", name)
		}
	}
	switch f.Process {
	case NotProcessed, ProcessedFirst, ProcessedLater:
	default:
		return fmt.Errorf("no processing %q", f.Process)
	}
	switch {
	case f.Status == 0 && (f.Process != NotProcessed || f.Body != "" || f.Header != nil):
		return errors.New("an answer of its own needs a status")
	case f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("%d is no status of an answer", f.Status)
	case f.Reset && f.Drop == "" && f.Transfer == "":
		return errors.New("reset says how a connection ends: drop or transfer says when")
	case f.Reset && f.GoAway:
		return errors.New("a connection ends with a reset or a go away")
	case f.Drop != "" && f.Transfer != "":
		return errors.New("an answer that is dropped is not transferred")
	case f.Transfer != "" && (f.Status == http.StatusNoContent || f.Status == http.StatusNotModified):
		return fmt.Errorf("an answer with status %d has no body to transfer", f.Status)
	case f.Times < Always || f.Skip < 0:
		return errors.New("times and skip are counts")
	}
	if _, ok := findCompany(f.Company); !ok && f.Company != "" {
		return fmt.Errorf("no company %q", f.Company)
	}
	return nil
}

// beforeOnly reports whether our own answer goes out as it is, so that it can
// be streamed or the connection be upgraded.
func (f *Fault) beforeOnly() bool {
	return f.DelayAfter == 0 && f.Hold != AfterProcessing && f.Drop != AfterProcessing && f.Drop != MidBody &&
		len(f.Set) == 0 && len(f.Omit) == 0 && len(f.Pad) == 0 &&
		f.Prefix == "" && f.Suffix == "" && !f.Gzip && f.Transfer == ""
}

// ActiveFault is a [Fault] that has been set.
type ActiveFault struct {
	// ID names the fault at the control handler.
	ID string

	emulator *Emulator
	fault    Fault
	hits     int // guarded by emulator.mu, as are the next two
	seen     int
	removed  bool
	reached  chan struct{}
	released chan struct{}
}

// Fault sets a fault. Of several that select the same request, the one set
// first happens, alone. It panics if the fault contradicts itself.
func (e *Emulator) Fault(fault Fault) *ActiveFault {
	active, err := e.setFault(fault)
	if err != nil {
		panic("pleotest: fault: " + err.Error())
	}
	return active
}

func (e *Emulator) setFault(fault Fault) (*ActiveFault, error) {
	if err := fault.check(); err != nil {
		return nil, err
	}
	if fault.Times == 0 {
		fault.Times = 1
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faultSeq++
	active := &ActiveFault{
		ID: fmt.Sprint(e.faultSeq), emulator: e, fault: fault,
		reached: make(chan struct{}), released: make(chan struct{}),
	}
	e.faults = append(e.faults, active)
	return active, nil
}

// Hits returns how many requests have met the fault.
func (a *ActiveFault) Hits() int {
	a.emulator.mu.Lock()
	defer a.emulator.mu.Unlock()
	return a.hits
}

// Reached is closed once a request has met the fault: when it is being held,
// if the fault holds, and when it was selected otherwise.
func (a *ActiveFault) Reached() <-chan struct{} { return a.reached }

// Release lets all requests go on that the fault holds, and does not hold any
// more.
func (a *ActiveFault) Release() {
	a.emulator.mu.Lock()
	defer a.emulator.mu.Unlock()
	closeOnce(a.released)
}

// Remove lets no further request meet the fault, and releases those it holds.
func (a *ActiveFault) Remove() {
	a.emulator.mu.Lock()
	defer a.emulator.mu.Unlock()
	a.removed = true
	closeOnce(a.released)
}

// ClearFaults removes every fault.
func (e *Emulator) ClearFaults() {
	e.mu.Lock()
	faults := e.faults
	e.faults = nil
	e.mu.Unlock()
	for _, active := range faults {
		active.Remove()
	}
}

func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
