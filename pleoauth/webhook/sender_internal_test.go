package webhook

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

const (
	testSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	otherSecret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
)

var anEvent = Event{ID: "msg_1", Kind: Connected, Time: time.Unix(1_790_000_000, 0).UTC(), Data: Data{Connection: "acme", State: "connected"}}

// sendTo posts an event to a server that answers with a handler.
func sendTo(t *testing.T, timeout time.Duration, handler http.HandlerFunc) error {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	return sendToURL(t, timeout, server.URL+"/hidden")
}

func sendToURL(t *testing.T, timeout time.Duration, url string) error {
	t.Helper()
	s, err := newSender(Config{URL: url, Secrets: []string{otherSecret, testSecret}, Timeout: timeout}.withDefaults())
	require.NoError(t, err)
	defer s.close()
	return s.send(t.Context(), anEvent)
}

func TestAMessageIsAPostThatEachSecretsHolderVerifies(t *testing.T) {
	require.NoError(t, sendTo(t, 0, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		for _, secret := range []string{testSecret, otherSecret} {
			verifier, err := standardwebhooks.NewWebhook(secret)
			require.NoError(t, err)
			require.NoError(t, verifier.Verify(body, r.Header))
		}
		require.Equal(t, http.MethodPost, r.Method)
		require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		require.Equal(t, "msg_1", r.Header.Get("webhook-id"))
		w.WriteHeader(http.StatusAccepted)
	}))
}

func TestAnswersButSuccessAreRefusalsAndNoRedirectIsFollowed(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 404, 429, 500, 503} {
		requests := 0
		err := sendTo(t, 0, func(w http.ResponseWriter, r *http.Request) {
			requests++
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(status)
		})
		require.ErrorIs(t, err, errUndelivered)
		require.Equal(t, 1, requests)
	}
	require.ErrorIs(t, sendTo(t, 0, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }), errGone)
}

// A name under localhost is whatever the resolver says, and HTTP_PROXY holds for
// it, so that a plain message could leave the machine.
func TestAPlainMessageStaysOnThisMachine(t *testing.T) {
	s, err := newSender(Config{URL: "http://app.localhost:3000/hidden", Secrets: []string{testSecret}}.withDefaults())
	require.NoError(t, err)
	transport, ok := s.transport.(*http.Transport)
	require.True(t, ok)
	require.Nil(t, transport.Proxy)
	_, err = transport.DialContext(t.Context(), "tcp", "192.0.2.1:3000")
	require.ErrorIs(t, err, errPlain)
	require.ErrorIs(t, withoutSending(err), errUndelivered)

	s, err = newSender(Config{URL: "https://app.example.com/hidden", Secrets: []string{testSecret}}.withDefaults())
	require.NoError(t, err)
	transport, ok = s.transport.(*http.Transport)
	require.True(t, ok)
	require.NotNil(t, transport.Proxy)
}

func TestARedirectThatIsMalformedIsARefusalAndNotRepeated(t *testing.T) {
	err := sendTo(t, 0, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/hidden/%zz")
		w.WriteHeader(http.StatusSeeOther)
	})
	require.ErrorIs(t, err, errUndelivered)
	require.NotContains(t, err.Error(), "hidden")
}

func TestWhatGoesWrongOnTheWayTellsWhetherItMayHaveArrived(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	err := sendToURL(t, 0, gone.URL+"/hidden")
	require.ErrorIs(t, err, errUndelivered)
	require.NotContains(t, err.Error(), "hidden")

	err = sendTo(t, 0, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	require.Error(t, err)
	require.NotErrorIs(t, err, errUndelivered)
	require.NotContains(t, err.Error(), "hidden")

	release := make(chan struct{})
	err = sendTo(t, 50*time.Millisecond, func(http.ResponseWriter, *http.Request) {
		defer close(release)
		time.Sleep(200 * time.Millisecond)
	})
	<-release
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, errUndelivered)
}

func TestAnAnswerWithoutEndIsNotReadToIt(t *testing.T) {
	began := time.Now()
	require.NoError(t, sendTo(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<10))
		}
	}))
	require.Less(t, time.Since(began), 30*time.Second)
}

func TestWaitsGrowToHoursAndDiffer(t *testing.T) {
	different := map[time.Duration]bool{}
	for attempt, least := range map[int]time.Duration{0: 4 * time.Second, 1: 4 * time.Second, 4: 8 * time.Minute, 9: 288 * time.Minute, 1000: 288 * time.Minute} {
		for range 20 {
			d := wait(attempt)
			require.GreaterOrEqual(t, d, least)
			require.LessOrEqual(t, d, 2*least)
			different[d] = true
		}
	}
	require.Greater(t, len(different), 50)
}

func TestConfigurationsThatCannotWorkAreRefusedWithoutShowingThem(t *testing.T) {
	for name, c := range map[string]Config{
		"plain HTTP":     {URL: "http://app.example.com/t0p", Secrets: []string{testSecret}},
		"no scheme":      {URL: "app.example.com/t0p", Secrets: []string{testSecret}},
		"no host":        {URL: "https:///t0p", Secrets: []string{testSecret}},
		"a user":         {URL: "https://t0p:t0p@app.example.com", Secrets: []string{testSecret}},
		"no secret":      {URL: "https://app.example.com/t0p"},
		"no prefix":      {URL: "https://app.example.com/t0p", Secrets: []string{"t0pKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}},
		"a short secret": {URL: "https://app.example.com/t0p", Secrets: []string{"whsec_t0p0"}},
		"no base64":      {URL: "https://app.example.com/t0p", Secrets: []string{"whsec_t0p!"}},
		"no URL":         {Secrets: []string{testSecret}},
		"a long time":    {After: 48 * time.Hour},
		"a negative one": {Timeout: -1},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.Validate()
			require.ErrorIs(t, err, ErrConfig)
			require.NotContains(t, err.Error(), "t0p")
		})
	}
	for _, url := range []string{"https://app.example.com/x?y=z", "http://127.0.0.1:8080/x", "http://localhost", "http://[::1]:1/"} {
		require.NoError(t, Config{URL: url, Secrets: []string{testSecret}}.Validate())
	}
}
