package caddymodule

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// problemType is what the types of our own answers begin with, so that they
// cannot be taken for Pleo's.
const problemType = "urn:pleo-auth-proxy:"

// problem is an answer of our own to a call, a document of RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	// Connection is the one that was called, where the call named a valid one.
	Connection string `json:"connection,omitempty"`
	// Reason says more, in one word.
	Reason string `json:"reason,omitempty"`
	// AuthoriseURI is where a user connects the connection again.
	AuthoriseURI string `json:"authorise_uri,omitempty"`

	challenge  string
	retryAfter time.Duration // 0: no such header
}

// response returns the problem as the answer to req.
func (p *problem) response(req *http.Request) *http.Response {
	body, _ := json.Marshal(p) // strings and a number: it cannot fail
	body = append(body, '\n')
	header := http.Header{
		"Cache-Control":  {"no-store"},
		"Content-Length": {strconv.Itoa(len(body))},
		"Content-Type":   {"application/problem+json"},
	}
	if p.challenge != "" {
		header["Www-Authenticate"] = []string{p.challenge}
	}
	if p.retryAfter > 0 {
		header["Retry-After"] = []string{retryAfterSeconds(p.retryAfter)}
	}
	res := &http.Response{
		Status:        strconv.Itoa(p.Status) + " " + http.StatusText(p.Status),
		StatusCode:    p.Status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        header,
		Body:          http.NoBody,
		ContentLength: int64(len(body)),
		Request:       req,
	}
	if req.Method != http.MethodHead {
		res.Body = io.NopCloser(bytes.NewReader(body))
	}
	return res
}

// retryAfterSeconds rounds up to whole seconds, of which there is at least one.
func retryAfterSeconds(d time.Duration) string {
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
