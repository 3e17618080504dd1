package caddymodule

import (
	"bytes"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestEachStateIsToldInWordsWithWhatToDo(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	info := func(state pleoauth.State, reason pleoauth.Reason, lastError string, attempts int) pleoauth.ConnectionInfo {
		return pleoauth.ConnectionInfo{Name: "acme", State: state, Reason: reason, LastError: lastError, Attempts: attempts, ObtainedAt: now.Add(-3 * time.Hour), Subject: "urn:pleo:company:1"}
	}
	for _, c := range []struct {
		info                 pleoauth.ConnectionInfo
		kind, connect, words string
		urgent, disconnect   bool
	}{
		{info(pleoauth.StateConnected, "", "", 0), "good", "Reconnect", "", false, true},
		{info(pleoauth.StateConnected, "", "refresh-failed", 3), "warn", "Reconnect", "did not work 3 times in a row", false, true},
		{info(pleoauth.StateConnected, "", "refresh-failed", 1), "warn", "Reconnect", "did not work. It is tried again", false, true},
		{info(pleoauth.StateConnected, "", "client-rejected", 1), "warn", "Reconnect", "client_secret", false, true},
		{info(pleoauth.StateConnected, "", "refresh-unsettled", 1), "warn", "Reconnect", "Pleo is asked", false, true},
		{info(pleoauth.StateConnected, "", "store-unavailable", 1), "warn", "Reconnect", "could not be stored", false, true},
		{info(pleoauth.StateReauthorisationRequired, pleoauth.ReasonRevokedOrExpired, "", 0), "bad", "Reconnect", "withdrawn or has expired", true, true},
		{info(pleoauth.StateReauthorisationRequired, pleoauth.ReasonLostResponse, "", 0), "bad", "Reconnect", "answer to a refresh was lost", true, true},
		{info(pleoauth.StateReauthorisationRequired, "", "", 0), "bad", "Reconnect", "has ended", true, true},
		{info(pleoauth.StateDisconnected, "", "", 0), "quiet", "Connect", "", false, false},
		{info("", "", "store-unavailable", 0), "bad", "", "another client", false, false},
	} {
		row := rowOf(c.info, now)
		require.Equal(t, c.kind, row.Kind, "%+v", c.info)
		require.Equal(t, c.connect, row.Connect)
		require.Equal(t, c.urgent, row.Urgent)
		require.Equal(t, c.disconnect, row.CanDisconnect)
		if c.words == "" {
			require.Empty(t, row.Words)
		}
		require.Contains(t, row.Words, c.words)
		require.Equal(t, "company:1", row.Subject)
	}
}

func TestWordsSayThatACompanyIsNotConfirmedAndThatIntrospectionIsUnusable(t *testing.T) {
	unpinned := pleoauth.ConnectionInfo{Name: "acme", State: pleoauth.StateConnected, Unpinned: true}
	row := rowOf(unpinned, time.Now())
	require.Equal(t, "company not confirmed yet", row.Subject)
	require.Equal(t, "warn", row.Kind)
	require.Equal(t, "Connected", row.State)
	require.Contains(t, row.Words, "could not be asked yet which company")
	require.Equal(t, "company not confirmed", noteOn(unpinned))

	unusable := pleoauth.ConnectionInfo{Name: "acme", State: pleoauth.StateConnected, Subject: "urn:pleo:company:1", Introspection: "unusable", LastError: "refresh-failed"}
	row = rowOf(unusable, time.Now())
	require.Equal(t, "company:1", row.Subject)
	require.Equal(t, "warn", row.Kind)
	require.Contains(t, row.Words, "did not work. It is tried again")
	require.Contains(t, row.Words, "does not know its own new tokens")
	require.Equal(t, "refresh-failed, introspection unusable", noteOn(unusable))

	var shown bytes.Buffer
	require.NoError(t, printConnection(&shown, unpinned, false))
	require.Regexp(t, `company: +not confirmed yet: Pleo could not be asked`, shown.String())
	require.NotContains(t, shown.String(), "introspection")
	shown.Reset()
	require.NoError(t, printConnection(&shown, unusable, false))
	require.Regexp(t, `introspection: +unusable: Pleo calls refresh tokens inactive`, shown.String())
	shown.Reset()
	require.NoError(t, printConnection(&shown, unusable, true))
	require.Contains(t, shown.String(), `"introspection":"unusable"`)
	shown.Reset()
	require.NoError(t, printConnection(&shown, unpinned, true))
	require.Contains(t, shown.String(), `"unpinned":true`)
}

func TestAgesArePlain(t *testing.T) {
	for d, text := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", time.Minute: "1 minute ago", 59 * time.Minute: "59 minutes ago",
		time.Hour: "1 hour ago", 47 * time.Hour: "47 hours ago", 48 * time.Hour: "2 days ago", 1000 * time.Hour: "41 days ago",
	} {
		require.Equal(t, text, ago(d))
	}
}

func TestBehindTLSTheFormsCookieIsBoundToTheHost(t *testing.T) {
	w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(t.Context(), "GET", "https://localhost/", nil)
	newFormGuard(true).secret(w, r)
	cookie := w.Result().Cookies()[0]
	require.Equal(t, "__Host-pleo-status", cookie.Name)
	require.True(t, cookie.Secure)
	require.Equal(t, "/", cookie.Path)
	require.Empty(t, cookie.Domain)
}
