package pleotest

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"time"
)

// controlHandler serves what the package documentation lists under "From
// another process". No page of another origin may use it.
func (e *Emulator) controlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { tell(w, e.Counters()) })
	mux.HandleFunc("DELETE /counters", func(w http.ResponseWriter, _ *http.Request) {
		e.ResetCounters()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { tell(w, e.listFaults()) })
	mux.HandleFunc("POST /faults", e.postFault)
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		e.ClearFaults()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /faults/{id}", e.onFault((*ActiveFault).Remove))
	mux.HandleFunc("POST /faults/{id}/release", e.onFault((*ActiveFault).Release))
	mux.HandleFunc("POST /revoke", e.postRevoke)
	mux.HandleFunc("POST /access-token-life", take(func(body struct{ Life wireDuration }) (any, error) {
		if body.Life < 0 {
			return nil, fmt.Errorf("a token cannot live for %v", time.Duration(body.Life))
		}
		e.SetAccessTokenLife(time.Duration(body.Life))
		return body, nil
	}))
	mux.HandleFunc("POST /consent", take(func(body consent) (any, error) {
		return body, e.SetConsent(body.Decision, body.Company)
	}))
	mux.HandleFunc("POST /approve", take(func(body struct{ URL, Company string }) (any, error) {
		redirect, err := e.Approve(body.URL, body.Company)
		return map[string]string{"redirect": redirect}, err
	}))
	mux.HandleFunc("POST /deny", take(func(body struct{ URL string }) (any, error) {
		redirect, err := e.Deny(body.URL)
		return map[string]string{"redirect": redirect}, err
	}))
	mux.HandleFunc("POST /issue", take(func(body issueRequest) (any, error) {
		a, err := e.Issue(body.ClientID, body.Company, body.Scope)
		return map[string]any{
			"authorisation": a, "access_token": a.AccessToken, "refresh_token": a.RefreshToken,
		}, err
	}))
	mux.HandleFunc("POST /refuse-early", take(func(body struct{ Early bool }) (any, error) {
		e.SetEarlyRefusal(body.Early)
		return body, nil
	}))
	mux.HandleFunc("POST /second-consent", take(func(body struct {
		Replacing bool `json:"replacing"`
	}) (any, error) {
		e.SetSecondConsentReplacing(body.Replacing)
		return body, nil
	}))
	mux.HandleFunc("POST /introspection", take(func(body Introspection) (any, error) {
		return body, e.SetIntrospection(body)
	}))
	mux.HandleFunc("POST /rate-limit", take(func(body wireRateLimit) (any, error) {
		return body, e.SetRateLimit(RateLimit{
			body.Requests, body.Token, body.Introspect, body.RetryAfter, time.Duration(body.Wait),
		})
	}))
	mux.HandleFunc("POST /clock", take(func(body struct {
		Ahead wireDuration `json:"ahead"`
	}) (any, error) {
		e.SetClockAhead(time.Duration(body.Ahead))
		return body, nil
	}))
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { tell(w, e.overview()) })
	mux.HandleFunc("GET /secrets", func(w http.ResponseWriter, _ *http.Request) { tell(w, e.Secrets()) })
	return e.tracked(sameOrigin.Handler(mux))
}

type issueRequest struct {
	ClientID string `json:"client_id"`
	Company  string `json:"company"`
	Scope    string `json:"scope"`
}

// wireRateLimit is a [RateLimit] as JSON.
type wireRateLimit struct {
	Requests   int          `json:"requests"`
	Token      int          `json:"token"`
	Introspect int          `json:"introspect"`
	RetryAfter RetryAfter   `json:"retry_after"`
	Wait       wireDuration `json:"wait"`
}

func tell(w http.ResponseWriter, body any) { writeUncached(w, http.StatusOK, body) }

func complain(w http.ResponseWriter, status int, err error) {
	writeUncached(w, status, map[string]string{"error": err.Error()})
}

// decode reads a JSON body strictly: a misspelt member is a test that does not
// test what it says. It asks for JSON's content type, which a form on some web
// page cannot send.
func decode(w http.ResponseWriter, r *http.Request, into any) bool {
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media != "application/json" {
		complain(w, http.StatusUnsupportedMediaType, fmt.Errorf("the content type must be application/json"))
		return false
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJSON))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		complain(w, http.StatusBadRequest, fmt.Errorf("the body: %w", err))
		return false
	}
	return true
}

func take[T any](do func(T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		if !decode(w, r, &body) {
			return
		}
		answer, err := do(body)
		if err != nil {
			complain(w, http.StatusBadRequest, err)
			return
		}
		tell(w, answer)
	}
}

func (e *Emulator) postRevoke(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Target
		Expire bool `json:"expire"`
	}
	if !decode(w, r, &body) {
		return
	}
	end := e.Revoke
	if body.Expire {
		end = e.Expire
	}
	tell(w, map[string]int{"ended": end(body.Target)})
}

// overview is the state without what is secret.
func (e *Emulator) overview() any {
	authorisations := e.Authorisations(Target{})
	e.mu.Lock()
	defer e.mu.Unlock()
	clients := e.sortedClients()
	for i := range clients {
		clients[i].Secret = ""
	}
	return map[string]any{
		"clients": clients, "companies": companies, "authorisations": authorisations,
		"access_token_life": e.life.String(), "consent": e.consent.Decision, "clock_ahead": e.ahead.String(),
		"second_consent_replacing": e.oneFamily,
		"introspection":            e.ignorant, "rate_limit": wireRateLimit{
			e.limit.Requests, e.limit.Token, e.limit.Introspect, e.limit.RetryAfter, wireDuration(e.limit.Wait),
		},
	}
}
