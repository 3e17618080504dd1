package caddymodule

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// maxAPIQuery and maxAPIBody bound what a call of the API may send, in bytes.
	maxAPIQuery = 8 << 10
	maxAPIBody  = 8 << 10
)

// linkRequest is what a link with a one-time ticket is asked for with.
type linkRequest struct {
	// Subject is the company that has to authorise. Default: any.
	Subject string `json:"subject,omitempty"`
	// ReturnTo is where the browser goes afterwards. Default: a page that says
	// that it worked.
	ReturnTo string `json:"return_to,omitempty"`
}

// linkAnswer is a link with a one-time ticket.
type linkAnswer struct {
	Connection string `json:"connection"`
	URL        string `json:"url"`
	// ExpiresIn is in seconds.
	ExpiresIn int64 `json:"expires_in"`
}

func (c *apiCall) authoriseURL() *problem {
	request, p := c.linkRequest()
	if p != nil {
		return p
	}
	if request.ReturnTo != "" && checkReturnTo(request.ReturnTo, c.app.origins) != nil {
		return invalidRequest("return_to is neither a path of the proxy's site nor a URL on return_to_origins.")
	}
	link, err := c.source.AuthoriseURL(c.r.Context(), c.connection, pleoauth.LinkRequest{Subject: request.Subject, ReturnTo: request.ReturnTo})
	if errors.Is(err, pleoauth.ErrConfig) {
		return notConfigured(c.connection)
	}
	if err != nil {
		return c.failed(err)
	}
	c.app.logger.Info("a one-time link was made", zap.String("connection", c.connection))
	return c.answer(linkAnswer{Connection: c.connection, URL: link.URL, ExpiresIn: int64(link.Life / time.Second)})
}

// linkRequest reads the body, which is JSON or empty, or parameters of the query
// in its place. A misspelled one is an error: without it the link would be
// another than was meant.
func (c *apiCall) linkRequest() (linkRequest, *problem) {
	var request linkRequest
	query, err := singleQuery(c.r.URL.RawQuery, maxAPIQuery, "subject", "return_to")
	if err != nil {
		return request, invalidRequest("The query is malformed, or has subject or return_to twice.")
	}
	for name := range query {
		if name != "subject" && name != "return_to" {
			return request, invalidRequest("The query has parameters other than subject and return_to.")
		}
	}
	body := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, maxAPIBody))
	body.DisallowUnknownFields()
	switch err := body.Decode(&request); {
	case errors.Is(err, io.EOF):
		return linkRequest{Subject: query.Get("subject"), ReturnTo: query.Get("return_to")}, nil
	case err != nil || body.More():
		return request, invalidRequest("The body is not a JSON object with no other fields than subject and return_to.")
	case len(query) > 0:
		return request, invalidRequest("subject and return_to stand either in the body or in the query.")
	}
	return request, nil
}
