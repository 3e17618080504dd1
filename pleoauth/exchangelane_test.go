package pleoauth_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// Exchanges of other names must not take the place of a living grant's refreshes.

func TestExchangesOfManyNamesThatMeetALimitHoldNoRefreshUp(t *testing.T) {
	tenMinutesOfVisits(t, visits{every: 5 * time.Second, code: "garbage"}, func(w *world) {
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Status: 429, Times: pleotest.Always})
	})
}

// More exchanges than requests that are under way at a time.
func TestExchangesThatPleoNeverAnswersHoldNoRefreshUp(t *testing.T) {
	tenMinutesOfVisits(t, visits{every: 150 * time.Millisecond}, func(w *world) {
		w.pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, GrantType: pleotest.AuthorizationCode, Hold: pleotest.BeforeProcessing, Times: pleotest.Always})
	})
}

// Pleo takes ten requests a second, and a browser brings fourteen bad codes.
func TestExchangesWithBadCodesLeaveRefreshesTheirPartOfALimit(t *testing.T) {
	tenMinutesOfVisits(t, visits{every: 70 * time.Millisecond, code: "garbage"}, func(*world) {},
		pleotest.WithRateLimit(pleotest.RateLimit{Requests: 10}))
}

// visits come one after another, each for a name of its own and without waiting for the
// one before. code is brought in place of Pleo's, if it is set.
type visits struct {
	every time.Duration
	code  string
}

// tenMinutesOfVisits requires that no call of a living connection fails meanwhile.
func tenMinutesOfVisits(t *testing.T, v visits, prepare func(*world), options ...pleotest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, append(options, pleotest.WithAccessTokenLife(3*time.Minute))...)
		r := w.replica()
		w.authorise(r, "default", "")
		w.token(r, "default")
		prepare(w)
		ticker := time.NewTicker(v.every)
		defer ticker.Stop()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
					go v.visit(ctx, w, r, fmt.Sprintf("x%d", n))
				}
			}
		}()
		failed := 0
		for range 10 * 60 {
			if _, err := r.Token(t.Context(), "default"); err != nil {
				failed++
			}
			time.Sleep(time.Second)
		}
		cancel()
		require.Zero(t, failed)
	})
}

func (v visits) visit(ctx context.Context, w *world, r *replica, name string) {
	begun, err := r.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: name})
	if err != nil {
		return
	}
	back, err := w.pleo.Approve(begun.URL, "")
	if err != nil {
		return
	}
	cb := callback(w.t, back, begun)
	if v.code != "" {
		cb.Code = v.code
	}
	_, _ = r.CompleteAuthorisation(ctx, cb)
}
