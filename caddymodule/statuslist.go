package caddymodule

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// statusPageSize is how many connections are on a page.
const statusPageSize = 50

// maxStatusQuery is the longest query that is read, in bytes.
const maxStatusQuery = 4 << 10

// listing says which connections to list, and what else to show.
type listing struct {
	cursor, find, done string
	// new is what is in the field for a new connection, newError what is wrong with it.
	new, newError string
}

// connectionsView is what the template connections.html shows.
type connectionsView struct {
	styled

	Title, Client, Server string
	Rows                  []connectionRow
	// Find is the name looked for, Later whether this is not the first page,
	// and Next the cursor of the one after it.
	Find, Next string
	Later      bool
	PageSize   int

	Notice        *statusNotice
	New, NewError string
	CanConnect    bool
	ConnectToken  string
}

// statusNotice says what has just happened.
type statusNotice struct{ Kind, Text string }

// disconnectView is what the template disconnect.html shows.
type disconnectView struct {
	styled

	Title, Connection, Token string
}

// show answers with the page that the query asks for.
func (s *Status) show(w http.ResponseWriter, r *http.Request, guard formGuard) {
	query, err := singleQuery(r.URL.RawQuery, maxStatusQuery, "cursor", "find", "done", "disconnect")
	if err != nil {
		formPage(errForm).write(w, r)
		return
	}
	shared, err := s.app.current(r.Context())
	if err != nil {
		s.fail(w, r, "", err)
		return
	}
	defer shared.leave()
	if query.Has("disconnect") {
		s.ask(w, r, guard, shared.source, query.Get("disconnect"))
		return
	}
	s.list(w, r, guard, shared.source, listingOf(query))
}

func listingOf(query url.Values) listing {
	return listing{cursor: query.Get("cursor"), find: strings.TrimSpace(query.Get("find")), done: query.Get("done")}
}

// ask asks whether to disconnect.
func (s *Status) ask(w http.ResponseWriter, r *http.Request, guard formGuard, source *pleoauth.Source, connection string) {
	if _, err := source.Connection(r.Context(), connection); err != nil {
		s.fail(w, r, connection, err)
		return
	}
	writePage(w, r, http.StatusOK, "disconnect.html", &disconnectView{
		Title:      "Disconnect " + connection + "?",
		Connection: connection,
		Token:      formToken(guard.secret(w, r), actionDisconnect),
	})
}

func (s *Status) list(w http.ResponseWriter, r *http.Request, guard formGuard, source *pleoauth.Source, l listing) {
	infos, next, err := s.find(r, source, l)
	if err != nil {
		s.fail(w, r, "", err)
		return
	}
	view := &connectionsView{
		Title:  "Connections to Pleo",
		Client: s.app.config.ClientID, Server: serverName(s.app.config.AuthServer),
		Rows: rowsOf(infos),
		Find: l.find, Next: next, Later: l.cursor != "", PageSize: statusPageSize,
		Notice: noticeOf(l, infos),
		New:    l.new, NewError: l.newError,
		CanConnect:   s.app.authoriseURL != nil,
		ConnectToken: formToken(guard.secret(w, r), actionConnect),
	}
	status := http.StatusOK
	switch {
	case l.newError != "":
		status, view.Title = http.StatusBadRequest, "Not a name – "+view.Title
	case l.find != "" && len(infos) == 0:
		status, view.Title = http.StatusNotFound, "Not found – "+view.Title
		if pleoauth.CheckConnection(l.find) == nil {
			view.New = l.find
		}
	case l.find == "" && l.cursor == "" && len(infos) == 0:
		view.New = cmp.Or(l.new, pleoauth.DefaultConnection)
	}
	// The redirects that follow the form lead elsewhere.
	setPageHeaders(w.Header(), "same-origin", s.formAction)
	writePage(w, r, status, "connections.html", view)
}

// find returns the connections to list, and the cursor of the next page.
func (s *Status) find(r *http.Request, source *pleoauth.Source, l listing) ([]pleoauth.ConnectionInfo, string, error) {
	if l.find == "" {
		return source.Connections(r.Context(), l.cursor, statusPageSize)
	}
	info, err := source.Connection(r.Context(), l.find)
	switch {
	case errors.Is(err, pleoauth.ErrInvalidConnection), errors.Is(err, pleoauth.ErrNotConnected):
		return nil, "", nil
	case errors.Is(err, pleoauth.ErrForeignRecord), errors.Is(err, pleoauth.ErrRecordUnreadable):
		return []pleoauth.ConnectionInfo{{Name: l.find}}, "", nil // as a list has it
	case err != nil:
		return nil, "", err
	}
	return []pleoauth.ConnectionInfo{info}, "", nil
}

// noticeOf says what has been done, if the store agrees: anybody can make a
// link that claims it.
func noticeOf(l listing, infos []pleoauth.ConnectionInfo) *statusNotice {
	if l.done == actionDisconnect && len(infos) == 1 && infos[0].State == pleoauth.StateDisconnected {
		return &statusNotice{"good", infos[0].Name + " is disconnected, and its tokens are wiped."}
	}
	return nil
}

// serverName is a base URL as people read it.
func serverName(base string) string {
	u, err := url.Parse(base)
	if err != nil {
		return base
	}
	return u.Host
}
