package pleoauth_test

import (
	"crypto/sha256"
	"fmt"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func withLinks(c *pleoauth.Config) { c.AuthoriseURI = "http://localhost/authorise" }

// ticketFor makes a link and returns its ticket.
func ticketFor(t *testing.T, r *replica, connection string, request pleoauth.LinkRequest) string {
	t.Helper()
	link, err := r.AuthoriseURL(t.Context(), connection, request)
	require.NoError(t, err)
	require.Equal(t, 15*time.Minute, link.Life)
	u, err := url.Parse(link.URL)
	require.NoError(t, err)
	require.Equal(t, "/authorise", u.Path)
	require.Equal(t, connection, u.Query().Get("connection"))
	require.Len(t, u.Query().Get("ticket"), 43, "256 bits")
	return u.Query().Get("ticket")
}

// approved starts a flow with a ticket and has it approved.
func (w *world) approved(r *replica, ticket, company string) pleoauth.Callback {
	w.t.Helper()
	begun := begin(w.t, r, pleoauth.AuthorisationRequest{Ticket: ticket})
	back, err := w.pleo.Approve(begun.URL, company)
	require.NoError(w.t, err)
	return callback(w.t, back, begun)
}

// liveFlows counts what is kept of flows and tickets, but for what has expired.
func (m *memServer) liveFlows() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	live := 0
	for _, f := range m.flows {
		if time.Now().Before(f.until) {
			live++
		}
	}
	return live
}

// exchangeTickets puts what is kept of each ticket in the other's place.
func (m *memServer) exchangeTickets(t *testing.T, a, b string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	key := func(ticket string) string { return fmt.Sprintf("ticket-%x", sha256.Sum256([]byte(ticket))) }
	require.Contains(t, m.flows, key(a), "a ticket is stored under its hash")
	m.flows[key(a)], m.flows[key(b)] = m.flows[key(b)], m.flows[key(a)]
}

func TestATicketBindsConnectionCompanyAndTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.replica(withLinks), w.replica(withLinks)
		company := pleotest.Companies()[1]
		ticket := ticketFor(t, a, "acme", pleoauth.LinkRequest{Subject: company.URN(), ReturnTo: "/settings"})
		for _, other := range []pleoauth.AuthorisationRequest{
			{Connection: "umbrella"}, {Subject: pleotest.Companies()[0].URN()}, {ReturnTo: "/elsewhere"},
		} {
			other.Ticket = ticket
			_, err := b.BeginAuthorisation(t.Context(), other)
			require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
		}
		_, err := b.CompleteAuthorisation(t.Context(), w.approved(b, ticket, pleotest.Companies()[0].ID))
		require.ErrorIs(t, err, pleoauth.ErrOtherSubject, "the company is checked, and the ticket is not spent by it")
		done, err := b.CompleteAuthorisation(t.Context(), w.approved(b, ticket, company.ID))
		require.NoError(t, err)
		require.Equal(t, pleoauth.Completed{Connection: "acme", ReturnTo: "/settings", Subject: company.URN()}, done)
	})
}

func TestATicketIsSpentWhenItsFlowCompletesAndNotBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(withLinks)
		ticket := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		begin(t, r, pleoauth.AuthorisationRequest{Ticket: ticket}) // a link preview
		begun := begin(t, r, pleoauth.AuthorisationRequest{Ticket: ticket})
		back, err := w.pleo.Deny(begun.URL)
		require.NoError(t, err)
		_, err = r.CompleteAuthorisation(t.Context(), callback(t, back, begun))
		require.ErrorIs(t, err, pleoauth.ErrDenied)

		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: 400, Body: `{"error":"invalid_grant"}`})
		_, err = r.CompleteAuthorisation(t.Context(), w.approved(r, ticket, ""))
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)

		_, err = r.CompleteAuthorisation(t.Context(), w.approved(r, ticket, ""))
		require.NoError(t, err)
		_, err = r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: ticket})
		require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
	})
}

func TestOfManyFlowsWithOneTicketOneCompletes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		replicas := []*replica{w.replica(withLinks), w.replica(withLinks)}
		ticket := ticketFor(t, replicas[0], "acme", pleoauth.LinkRequest{})
		const tabs = 6
		var callbacks []pleoauth.Callback
		for i := range tabs {
			callbacks = append(callbacks, w.approved(replicas[i%2], ticket, ""))
		}
		ended := make(chan error, tabs)
		for i, cb := range callbacks {
			go func() {
				_, err := w.complete(replicas[i%2], cb)
				ended <- err
			}()
		}
		completed := 0
		for range tabs {
			if err := <-ended; err == nil {
				completed++
			} else {
				require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
			}
		}
		require.Equal(t, 1, completed)
		require.Equal(t, 1, w.pleo.Counters().ExchangeRequests, "the others' codes are not even sent")
	})
}

func TestATicketStartsFlowsForFifteenMinutesAndTheLastOneCanBeCompleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(withLinks)
		ticket := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		time.Sleep(14*time.Minute + 59*time.Second)
		last := w.approved(r, ticket, "")
		time.Sleep(time.Second)
		_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: ticket})
		require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
		time.Sleep(9 * time.Minute)
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: 500, Process: pleotest.NotProcessed})
		_, err = r.CompleteAuthorisation(t.Context(), last)
		require.ErrorIs(t, err, pleoauth.ErrExchangeFailed)
		_, err = r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: ticket})
		require.ErrorIs(t, err, pleoauth.ErrInvalidTicket, "a failed exchange does not make it last longer")

		abandoned := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		begin(t, r, pleoauth.AuthorisationRequest{Ticket: abandoned})
		time.Sleep(26 * time.Minute)
		require.Zero(t, w.store.liveFlows(), "nothing is left of what is abandoned")
	})
}

func TestATicketThatIsNoneOfOursIsNotLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(withLinks)
		ticket := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		r.store.setAway(true) // asking it would be another error
		for _, wrong := range []string{"made-up", ticket + "x", ticket[:42], ticket[:20] + "\n" + ticket[20:], string(make([]byte, 43))} {
			_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: wrong})
			require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
		}
		_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: ticket})
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
	})
}

func TestWhatIsNoTicketStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica(withLinks)
		ticket := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		state, err := url.Parse(begin(t, r, pleoauth.AuthorisationRequest{Connection: "acme"}).URL)
		require.NoError(t, err)
		before := w.store.liveFlows()
		for _, wrong := range []string{"made-up", ticket + "x", ticket[:42], ticket + "-start", state.Query().Get("state"), string(make([]byte, 1<<20))} {
			_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: wrong})
			require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
			require.NotContains(t, err.Error(), wrong)
		}
		require.Equal(t, before, w.store.liveFlows())
		_, err = r.CompleteAuthorisation(t.Context(), pleoauth.Callback{State: ticket, Code: "x", Binding: func(string) string { return "" }})
		require.ErrorIs(t, err, pleoauth.ErrUnknownFlow, "a ticket is no state")

		// Moved to another ticket's place, it opens for nobody.
		other := ticketFor(t, r, "umbrella", pleoauth.LinkRequest{})
		w.store.exchangeTickets(t, ticket, other)
		for _, moved := range []string{ticket, other} {
			_, err := r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: moved})
			require.ErrorIs(t, err, pleoauth.ErrInvalidTicket)
		}
	})
}

func TestALinkNeedsWhatItLeadsTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		_, err := w.replica().AuthoriseURL(t.Context(), "acme", pleoauth.LinkRequest{})
		require.ErrorIs(t, err, pleoauth.ErrConfig)
		require.ErrorContains(t, err, "authorise_uri")
		r := w.replica(withLinks)
		_, err = r.AuthoriseURL(t.Context(), "a/b", pleoauth.LinkRequest{})
		require.ErrorIs(t, err, pleoauth.ErrInvalidConnection)
		_, err = r.AuthoriseURL(t.Context(), "acme", pleoauth.LinkRequest{Subject: "acme"})
		require.ErrorIs(t, err, pleoauth.ErrInvalidSubject)
		noRedirect := w.replica(withLinks, func(c *pleoauth.Config) { c.RedirectURI = "" })
		_, err = noRedirect.AuthoriseURL(t.Context(), "acme", pleoauth.LinkRequest{})
		require.ErrorContains(t, err, "redirect_uri")
		ticket := ticketFor(t, r, "acme", pleoauth.LinkRequest{})
		r.store.setAway(true)
		_, err = r.AuthoriseURL(t.Context(), "acme", pleoauth.LinkRequest{})
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable)
		_, err = r.BeginAuthorisation(t.Context(), pleoauth.AuthorisationRequest{Ticket: ticket})
		require.ErrorIs(t, err, pleoauth.ErrStoreUnavailable, "which is not the ticket's fault")
	})
}
