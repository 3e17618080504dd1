package pleoauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Callback is what a browser brought back from Pleo.
type Callback struct {
	State, Code, Error string
	// Issuer is the parameter iss (RFC 9207), checked if it is there.
	Issuer string
	// Binding returns the cookie's value for a flow, "" if the browser has none.
	Binding func(flowID string) string
}

// Completed says which authorisation a callback belonged to.
type Completed struct {
	Connection, ReturnTo, Subject string
	// RetryAfter is when it is worth trying again: the same callback beside
	// [ErrAuthorisationPending], a new authorisation beside [ErrExchangeFailed]
	// where Pleo may still be working on this one. Otherwise zero.
	RetryAfter time.Duration
}

// CompleteAuthorisation finishes what BeginAuthorisation began: it checks the
// state, checks that it is the same browser, takes the state so that it works once,
// exchanges the code, asks whose company it is, and stores the grant. The
// exchange does not end with ctx: a browser that goes away loses nothing.
//
// While an earlier request about the connection may still reach Pleo, it returns
// [ErrAuthorisationPending] after two seconds at most, and the flow stays.
//
// Completed is filled in, as far as it is known, beside an error too, but never
// before the browser was checked. The error wraps [ErrUnknownFlow],
// [ErrOtherBrowser], [ErrDenied], [ErrInvalidTicket] if the flow's ticket has been
// spent by another flow, [ErrExchangeFailed], [ErrClientRejected],
// [ErrOtherSubject], [ErrSubjectUnknown], [ErrSuperseded] or [ErrStoreUnavailable].
func (s *Source) CompleteAuthorisation(ctx context.Context, cb Callback) (Completed, error) {
	s.Start()
	f, err := s.checkFlow(ctx, cb)
	if err != nil {
		s.authorisationEnded(err)
		return Completed{}, err
	}
	completed := Completed{Connection: f.Connection, ReturnTo: f.ReturnTo}
	switch {
	case cb.Error != "":
		err = fmt.Errorf("%w: %s", ErrDenied, deniedCode(cb.Error))
	case cb.Code == "":
		err = fmt.Errorf("%w: there is neither a code nor an error", ErrUnknownFlow)
	}
	if err != nil {
		if spent := s.spendFlow(cb.State); spent != nil {
			err = spent
		}
		s.authorisationEnded(err)
		return completed, err
	}
	done := make(chan exchanged, 1)
	if !s.goWork(func() {
		r := s.completeFlow(f, cb)
		s.authorisationEnded(r.err)
		done <- r
	}) {
		return completed, fmt.Errorf("%w: %w", ErrStoreUnavailable, errClosing)
	}
	select {
	case r := <-done:
		completed.Subject, completed.RetryAfter = r.subject, r.retryAfter
		return completed, r.err
	case <-ctx.Done():
		return completed, ctx.Err()
	}
}

// completeFlow spends the flow and exchanges its code, in its turn. If a ticket has
// started the flow, the ticket is spent with it, in one atomic step each: of two
// flows with one ticket, one gets on. If nothing comes of the exchange, the ticket is
// given back, for as long as it would have been good.
func (s *Source) completeFlow(f flow, cb Callback) exchanged {
	c, done := s.exchanges(f.Connection)
	defer done()
	e := &exchange{Source: s, c: c, flow: f, code: cb.Code}
	var ticket []byte
	r := e.run(func() error {
		if err := s.spendFlow(cb.State); err != nil || f.Ticket == "" {
			return err
		}
		var err error
		ticket, err = s.takeTicket(f.Ticket)
		return err
	})
	if r.err != nil && ticket != nil {
		// Its mark is not renewed: no flow is started later than before, and
		// those under way live no longer than this.
		ctx, cancel := s.command()
		defer cancel()
		_ = s.putFlow(ctx, f.Ticket, ticket, ticketLife+flowLife) // else a new link is needed
	}
	return r
}

// spendFlow takes a flow, so that it works once.
func (s *Source) spendFlow(state string) error {
	ctx, cancel := s.command()
	defer cancel()
	_, err := s.store.TakeFlow(ctx, flowKey(state))
	s.storeAnswered(StoreTakeFlow, err)
	if err != nil {
		return flowError(err)
	}
	return nil
}

// checkFlow checks the callback before anything is exchanged. The flow stays: another
// browser does not spend it, since a link preview must not end what a user is doing,
// and the same browser may have to come back for it.
func (s *Source) checkFlow(ctx context.Context, cb Callback) (flow, error) {
	var f flow
	if !isRandom256(cb.State) {
		return f, fmt.Errorf("%w: it is none of ours", ErrUnknownFlow) // which the store need not be asked
	}
	ctx, cancel := context.WithTimeout(ctx, 2*s.times().command)
	defer cancel()
	key := flowKey(cb.State)
	sealed, err := s.store.Flow(ctx, key)
	s.storeAnswered(StoreFlow, err)
	if err != nil {
		return f, flowError(err)
	}
	plain, err := s.keyring().open(sealed, s.flowPurpose(key))
	if err != nil {
		return f, fmt.Errorf("%w: %w", ErrUnknownFlow, err)
	}
	if err := json.Unmarshal(plain, &f); err != nil {
		return f, fmt.Errorf("%w: it is of another format", ErrUnknownFlow)
	}
	bound := sha256.Sum256([]byte(cb.Binding(FlowID(cb.State))))
	if subtle.ConstantTimeCompare(bound[:], f.Binding) != 1 {
		return flow{}, ErrOtherBrowser
	}
	issuer := cmp.Or(s.config().Issuer, s.config().AuthServer)
	if cb.Issuer != "" && strings.TrimRight(cb.Issuer, "/") != strings.TrimRight(issuer, "/") {
		return flow{}, fmt.Errorf("%w: %w: iss is %.200q, and expected is %q (see the option issuer)", ErrUnknownFlow, ErrOtherIssuer, cb.Issuer, issuer)
	}
	return f, nil
}

func flowError(err error) error {
	if errors.Is(err, ErrNoFlow) {
		return ErrUnknownFlow
	}
	return fmt.Errorf("%w: %w", ErrStoreUnavailable, err)
}

// deniedCode lets through the codes of RFC 6749, section 4.1.2.1: the text
// comes from a URL that anybody can make up.
func deniedCode(code string) string {
	switch code {
	case "access_denied", "invalid_request", "unauthorized_client", "unsupported_response_type",
		"invalid_scope", "server_error", "temporarily_unavailable":
		return code
	}
	return "another error"
}
