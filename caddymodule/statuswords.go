package caddymodule

import (
	"fmt"
	"strings"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// connectionRow is a connection as people read it.
type connectionRow struct {
	Name, Subject string
	// Kind colours State: good, warn, bad or quiet. Words say what is wrong
	// and what to do, if anything.
	Kind, State, Words string
	// Obtained is when its grant was obtained, and Age how long ago that was.
	Obtained, Age string
	// Connect is the word for connecting it, or "" if that cannot be; it is
	// Urgent if nothing works until somebody does.
	Connect       string
	Urgent        bool
	CanDisconnect bool
}

func rowsOf(infos []pleoauth.ConnectionInfo) []connectionRow {
	rows := make([]connectionRow, 0, len(infos))
	for _, info := range infos {
		rows = append(rows, rowOf(info, time.Now()))
	}
	return rows
}

const foreignWords = "The store has it for another client, another authorisation server, or in a format that this version does not know. It is not touched: connect under another name, or correct the configuration."

func rowOf(info pleoauth.ConnectionInfo, now time.Time) connectionRow {
	row := connectionRow{Name: info.Name, Subject: strings.TrimPrefix(info.Subject, "urn:pleo:")}
	if !info.ObtainedAt.IsZero() {
		row.Obtained, row.Age = info.ObtainedAt.UTC().Format(time.RFC3339), ago(now.Sub(info.ObtainedAt))
	}
	switch info.State {
	case pleoauth.StateConnected:
		row.Kind, row.State, row.Words = "good", "Connected", connectedWords(info)
		row.Connect, row.CanDisconnect = "Reconnect", true
		if row.Words != "" {
			row.Kind = "warn"
		}
		switch {
		case info.KeyMissing:
			row.Kind, row.State = "bad", "Cannot be opened"
		case !info.FailingSince.IsZero():
			row.Kind, row.State = "bad", "Calls fail"
		}
		if info.Unpinned {
			row.Subject = "company not confirmed yet"
		}
	case pleoauth.StateReauthorisationRequired:
		row.Kind, row.State, row.Words = "bad", "Has to be connected again", endWords(info.Reason)
		row.Connect, row.Urgent, row.CanDisconnect = "Reconnect", true, true
	case pleoauth.StateDisconnected:
		row.Kind, row.State = "quiet", "Disconnected"
		row.Connect = "Connect"
		row.Obtained = ""
	default:
		row.Kind, row.State, row.Words = "bad", "Cannot be read", foreignWords
	}
	return row
}

// endWords say how a grant ended, and what to do.
func endWords(reason pleoauth.Reason) string {
	switch reason {
	case pleoauth.ReasonRevokedOrExpired:
		return "Pleo says that the authorisation was withdrawn or has expired. Calls are answered with 401 until somebody connects it again."
	case pleoauth.ReasonLostResponse:
		return "The answer to a refresh was lost, and the tokens with it. Calls are answered with 401 until somebody connects it again."
	}
	return "The authorisation has ended. Calls are answered with 401 until somebody connects it again."
}

// connectedWords say what is not as it should be with a connected connection, or
// nothing.
func connectedWords(info pleoauth.ConnectionInfo) string {
	var words []string
	if info.KeyMissing {
		words = append(words, "No key that is configured opens its tokens: the one with the id "+info.KeyID+" is missing. Calls are answered with 503 until it is there again; the authorisation is kept.")
	}
	if !info.FailingSince.IsZero() {
		words = append(words, "Calls have been failing since "+info.FailingSince.UTC().Format("2006-01-02 15:04")+" UTC.")
	}
	if info.MissingScopes != nil {
		words = append(words, "Pleo has not granted all that was asked for: "+strings.Join(info.MissingScopes, ", ")+" is missing. Pleo refuses the calls that need it.")
	}
	if text := troubleWords(info); text != "" {
		words = append(words, text)
	}
	if info.Unpinned {
		words = append(words, "Pleo could not be asked yet which company this is. Calls are served. Before you rely on it, see that it is the right one.")
	}
	if info.Introspection != "" {
		words = append(words, "Pleo does not know its own new tokens when it is asked about them. Calls are served, but if the answer to a refresh is lost, it takes longer to recover.")
	}
	return strings.Join(words, " ")
}

// troubleWords say what keeps a connected connection from being refreshed, or
// nothing.
func troubleWords(info pleoauth.ConnectionInfo) string {
	times := ""
	if info.Attempts > 1 {
		times = fmt.Sprintf(" %d times in a row", info.Attempts)
	}
	switch info.LastError {
	case "":
		return ""
	case "client-rejected":
		return "Pleo refuses client_id or client_secret. Correct them in the configuration; the authorisation is kept."
	case "refresh-unsettled":
		return "The answer to a refresh was lost. Pleo is asked what has become of it; there is nothing to do yet."
	case "store-unavailable":
		return "A refresh could not be stored. It is tried again by itself; see whether the store is well."
	}
	return "The last refresh did not work" + times + ". It is tried again by itself; if it goes on, see whether Pleo can be reached."
}

// ago says how long ago something was. Clocks of two machines differ a little,
// so what seems to be still to come is now.
func ago(d time.Duration) string {
	count := func(n int64, unit string) string {
		if n == 1 {
			return "1 " + unit + " ago"
		}
		return fmt.Sprintf("%d %ss ago", n, unit)
	}
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		return count(int64(d/time.Hour), "hour")
	}
	return count(int64(d/(24*time.Hour)), "day")
}
