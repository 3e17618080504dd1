package docs_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

var (
	verifier, _ = standardwebhooks.NewWebhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	seen        = map[string]bool{}
)

// firstTime reports whether a message has not come before.
func firstTime(id string) bool {
	before := seen[id]
	seen[id] = true
	return !before
}

func receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil || verifier.Verify(body, r.Header) != nil {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if !firstTime(r.Header.Get("webhook-id")) {
		return // it came before
	}
	var event struct {
		Type string
		Data struct{ Connection, Reason string }
	}
	if err := json.Unmarshal(body, &event); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	fmt.Println(event.Type, event.Data.Connection, event.Data.Reason)
}

// An application that is told what becomes of its connections: it verifies each
// message, and passes over those that it has had.
func Example_webhook() {
	signed := `{"type":"reauthorisation_required","data":{"connection":"customer-42","reason":"lost_response"}}`
	now := time.Now()
	signature, err := verifier.Sign("msg_1", now, []byte(signed))
	if err != nil {
		panic(err)
	}
	for _, body := range []string{signed, signed, strings.Replace(signed, "42", "43", 1)} {
		r := httptest.NewRequest(http.MethodPost, "/pleo-events", strings.NewReader(body))
		r.Header.Set("webhook-id", "msg_1")
		r.Header.Set("webhook-timestamp", fmt.Sprint(now.Unix()))
		r.Header.Set("webhook-signature", signature)
		w := httptest.NewRecorder()
		receive(w, r)
		fmt.Println(w.Code)
	}
	// Output:
	// reauthorisation_required customer-42 lost_response
	// 200
	// 200
	// 401
}
