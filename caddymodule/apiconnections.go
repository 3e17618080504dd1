package caddymodule

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

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
	cursor, limit, p := c.page(defaultPageLimit)
	if p != nil {
		return p
	}
	connections, next, err := c.source.Connections(c.r.Context(), cursor, limit)
	if err != nil {
		return c.failed(err)
	}
	for i := range connections {
		dropStrangeTimes(&connections[i])
	}
	if connections == nil {
		connections = []pleoauth.ConnectionInfo{} // an empty list in JSON, not null
	}
	return c.answer(connectionPage{connections, next})
}

// page returns what the query says of a page: its cursor, and its size or else
// the given one.
func (c *apiCall) page(size int) (cursor string, limit int, p *problem) {
	query, err := singleQuery(c.r.URL.RawQuery, maxAPIQuery, "limit", "cursor")
	if err != nil {
		return "", 0, invalidRequest("The query is malformed, or has limit or cursor twice.")
	}
	if text := query.Get("limit"); text != "" {
		if size, err = strconv.Atoi(text); err != nil || size < 1 || size > maxPageLimit {
			return "", 0, invalidRequest(fmt.Sprintf("limit is not a number from 1 to %d.", maxPageLimit))
		}
	}
	return query.Get("cursor"), size, nil
}

func (c *apiCall) show() *problem {
	info, err := c.source.Connection(c.r.Context(), c.connection)
	if err != nil {
		return c.failed(err)
	}
	dropStrangeTimes(&info)
	return c.answer(info)
}

// dropStrangeTimes takes out times that JSON has no year for: a record that
// somebody else has changed would cost the whole answer.
func dropStrangeTimes(info *pleoauth.ConnectionInfo) {
	for _, t := range []*time.Time{&info.ObtainedAt, &info.ExpiresAt} {
		if year := t.Year(); year < 0 || year > 9999 {
			*t = time.Time{}
		}
	}
}

func (c *apiCall) disconnect() *problem {
	if err := c.source.Disconnect(c.r.Context(), c.connection); err != nil {
		return c.failed(err)
	}
	c.w.Header().Set("Cache-Control", "no-store")
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// refresh is a person's: [pleoauth.Source.Refresh] does not wait for a time that
// Pleo has named with Retry-After.
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
