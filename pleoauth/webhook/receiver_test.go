package webhook_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
)

// receiver is the application: a transport that needs no network.
type receiver struct {
	t  *testing.T
	mu sync.Mutex
	// answer, if set, answers; an error is one of the connection.
	answer  func(req *http.Request, body []byte) (status int, err error)
	got     []message
	current int
	most    int // at the same time
}

// message is one that has arrived, taken or not.
type message struct {
	kind, id, body string
	at             time.Time
}

var errCut = errors.New("connection reset")

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	require.NoError(r.t, err)
	verifier, err := standardwebhooks.NewWebhook(secret)
	require.NoError(r.t, err)
	require.NoError(r.t, verifier.Verify(body, req.Header))
	kind := bytes.Split(body, []byte(`"`))[3]
	r.mu.Lock()
	r.got = append(r.got, message{string(kind), req.Header.Get("webhook-id"), string(body), time.Now()})
	r.current++
	r.most = max(r.most, r.current)
	answer := r.answer
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.current--
	}()
	res := httptest.NewRecorder()
	if answer != nil {
		status, err := answer(req, body)
		if err != nil {
			return nil, err
		}
		res.WriteHeader(status)
	}
	return res.Result(), nil
}

// answering has the receiver answer with a status from now on.
func (r *receiver) answering(status int) {
	r.with(func(*http.Request, []byte) (int, error) { return status, nil })
}

func (r *receiver) with(answer func(*http.Request, []byte) (int, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) messages() []message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]message(nil), r.got...)
}

func (r *receiver) kinds() []string {
	var kinds []string
	for _, m := range r.messages() {
		kinds = append(kinds, m.kind)
	}
	return kinds
}
