package pleoauth_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// application is told what becomes of connections.
type application struct {
	mu  sync.Mutex
	got []string
}

var messageType = regexp.MustCompile(`"type":"([a-z_]+)"`)

func (a *application) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, string(messageType.FindSubmatch(body)[1]))
	return &http.Response{StatusCode: http.StatusNoContent, Body: http.NoBody}, nil
}

func (a *application) told() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.got...)
}

// tellingReplicas are replicas that tell an application.
func tellingReplicas(t *testing.T, w *world, n int) ([]*replica, *application) {
	t.Helper()
	app := &application{}
	replicas := make([]*replica, n)
	for i := range replicas {
		r := w.replica()
		worker := webhook.New(pleoauth.Identity{Issuer: w.cfg.AuthServer, ClientID: w.cfg.ClientID}, r.store, nil)
		worker.Note(true)
		require.NoError(t, worker.Configure(&webhook.Config{
			URL: "https://app.example.com", Secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}, Transport: app,
			Logger: slog.New(slog.NewTextHandler(w.log, nil)),
		}))
		t.Cleanup(func() { worker.Close(context.Background()) })
		r.Start()
		replicas[i] = r
	}
	return replicas, app
}

func TestARevokedGrantIsToldOnceByThreeReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		replicas, app := tellingReplicas(t, w, 3)
		w.authorise(replicas[0], "default", "")
		for _, r := range replicas {
			w.token(r, "default")
		}
		for range 3 { // refreshes are no news
			require.NoError(t, replicas[1].Refresh(t.Context(), "default"))
			time.Sleep(time.Minute)
		}
		w.pleo.Revoke(pleotest.Target{})
		for _, r := range replicas {
			require.ErrorIs(t, r.Refresh(t.Context(), "default"), pleoauth.ErrReauthorisationRequired)
		}
		time.Sleep(time.Hour)
		require.Equal(t, []string{"connected", "reauthorisation_required"}, app.told())
		w.authorise(replicas[2], "default", "")
		time.Sleep(time.Hour)
		require.Equal(t, []string{"connected", "reauthorisation_required", "connected"}, app.told())
		require.NoError(t, replicas[0].Disconnect(t.Context(), "default"))
		time.Sleep(time.Hour)
		require.Len(t, app.told(), 3)
	})
}

func TestAHolderThatComesBackIsToldAsRecoveredIfItWasMissedForMoreThanAMinute(t *testing.T) {
	for name, c := range map[string]struct {
		missed   time.Duration
		expected []string
	}{
		"within the minute": {40 * time.Second, []string{"connected"}},
		"later":             {5 * time.Minute, []string{"connected", "reauthorisation_required", "recovered"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				replicas, app := tellingReplicas(t, w, 2)
				a, b := replicas[0], replicas[1]
				w.authorise(a, "default", "")
				w.token(b, "default")
				time.Sleep(time.Second) // or that it was told could not be kept
				heldBy(t, w, a)
				for w.store.record("default").State == pleoauth.StateConnected {
					_, _ = b.Token(t.Context(), "default")
					time.Sleep(time.Second)
				}
				time.Sleep(c.missed)
				a.store.setAway(false)
				time.Sleep(time.Hour)
				require.Equal(t, pleoauth.StateConnected, w.store.record("default").State)
				require.Equal(t, c.expected, app.told())
			})
		})
	}
}
