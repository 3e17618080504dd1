package pleotest

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Page sizes of the API: without a limit, and at most.
const (
	defaultPage = 100
	maxPage     = 500
)

// pagination says where a page lies among all. Cursors are opaque.
type pagination struct {
	HasNextPage     bool   `json:"hasNextPage"`
	HasPreviousPage bool   `json:"hasPreviousPage"`
	StartCursor     string `json:"startCursor,omitempty"`
	EndCursor       string `json:"endCursor,omitempty"`
	Total           int    `json:"total"`
}

// sendPage answers with the items after the cursor after, or before the cursor
// before, limit of them at most.
func sendPage[T any](w http.ResponseWriter, r *http.Request, items []T) {
	start, end, err := pageBounds(r.URL.Query(), len(items))
	if err != nil {
		badBody(w, err.Error())
		return
	}
	p := pagination{HasNextPage: end < len(items), HasPreviousPage: start > 0, Total: len(items)}
	if start < end {
		p.StartCursor, p.EndCursor = cursor(start), cursor(end-1)
	}
	send(w, r, map[string]any{"data": items[start:end], "pagination": p})
}

func pageBounds(query url.Values, total int) (start, end int, err error) {
	limit := defaultPage
	if text := query.Get("limit"); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return 0, 0, errors.New("the limit must be 1 to 500")
		}
	}
	after, before := query.Get("after"), query.Get("before")
	switch {
	case after != "" && before != "":
		return 0, 0, errors.New("either after or before may be there, not both")
	case after != "":
		at, err := position(after, total)
		if err != nil {
			return 0, 0, err
		}
		start = at + 1
	case before != "":
		at, err := position(before, total)
		if err != nil {
			return 0, 0, err
		}
		return max(0, at-limit), at, nil
	}
	return start, min(start+limit, total), nil
}

// cursorPrefix makes a cursor no number, so that nobody counts with it.
const cursorPrefix = "item:"

func cursor(index int) string {
	return base64.RawURLEncoding.EncodeToString([]byte(cursorPrefix + strconv.Itoa(index)))
}

func position(cursor string, total int) (int, error) {
	decoded, err := base64.RawURLEncoding.DecodeString(cursor)
	text, ok := strings.CutPrefix(string(decoded), cursorPrefix)
	index, numberErr := strconv.Atoi(text)
	if err != nil || numberErr != nil || !ok || index < 0 || index >= total {
		return 0, errors.New("the cursor is not one of this list")
	}
	return index, nil
}
