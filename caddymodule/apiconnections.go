package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	defaultPageLimit = 100
	maxPageLimit     = 1000
)

type connectionPage struct {
	Connections []pleoauth.ConnectionInfo `json:"connections"`
	// Next is the cursor of the next page; absent: this was the last one.
	Next string `json:"next,omitempty"`
}

func (c *apiCall) list() *problem {
	query, err := singleQuery(c.r.URL.RawQuery, maxAPIQuery, "limit", "cursor")
	if err != nil {
		return invalidRequest("The query is malformed, or has limit or cursor twice.")
	}
	limit := defaultPageLimit
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPageLimit {
			return invalidRequest(fmt.Sprintf("limit is not a number from 1 to %d.", maxPageLimit))
		}
	}
	connections, next, err := c.source.Connections(c.r.Context(), query.Get("cursor"), limit)
	if err != nil {
		return c.failed(err)
	}
	if connections == nil {
		connections = []pleoauth.ConnectionInfo{} // an empty list in JSON, not null
	}
	return c.answer(connectionPage{connections, next})
}

func (c *apiCall) show() *problem {
	info, err := c.source.Connection(c.r.Context(), c.connection)
	if err != nil {
		return c.failed(err)
	}
	return c.answer(info)
}

func (c *apiCall) disconnect() *problem {
	if err := c.source.Disconnect(c.r.Context(), c.connection); err != nil {
		return c.failed(err)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *apiCall) refresh() *problem {
	if err := c.source.Refresh(c.r.Context(), c.connection); err != nil {
		return c.failed(err)
	}
	return c.show()
}

// answer writes value as JSON.
func (c *apiCall) answer(value any) *problem {
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(c.w).Encode(value) // the caller may have gone away
	return nil
}
