package caddymodule

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// eachConnection calls see for every connection that the proxy has, page by
// page.
func (c *apiClient) eachConnection(ctx context.Context, see func(pleoauth.ConnectionInfo) error) error {
	for cursor := ""; ; {
		query := url.Values{"limit": {strconv.Itoa(maxPageLimit)}}
		if cursor != "" {
			query.Set("cursor", cursor)
		}
		var page connectionPage
		if err := c.call(ctx, http.MethodGet, connectionsPath+"?"+query.Encode(), nil, &page); err != nil {
			return err
		}
		for _, info := range page.Connections {
			if err := see(info); err != nil {
				return err
			}
		}
		if cursor = page.Next; cursor == "" {
			return nil
		}
	}
}

func connectionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connections [--state <state>] [--json]",
		Short: "Lists the connections of a running proxy",
		Long: `
Lists all connections that a running proxy has in its store, with their state and
until when their access token is good. No token is ever shown.
`,
		Args: cobra.NoArgs,
	}
	flags := addAPIFlags(cmd)
	states := []string{string(pleoauth.StateConnected), string(pleoauth.StateReauthorisationRequired), string(pleoauth.StateDisconnected)}
	state := cmd.Flags().String("state", "", "Only those in this state: "+strings.Join(states, ", "))
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(states, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if *state != "" && !slices.Contains(states, *state) {
			return fmt.Errorf("--state: there is no state %q, but %s", *state, strings.Join(states, ", "))
		}
		return nil
	}
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, _ []string) error {
		list := newConnectionList(cmd.OutOrStdout(), flags.json)
		err := client.eachConnection(ctx, func(info pleoauth.ConnectionInfo) error {
			if *state != "" && string(info.State) != *state {
				return nil
			}
			return list.add(info)
		})
		if err != nil {
			return err
		}
		return list.end()
	})
	return cmd
}

// connectionList prints connections as they come: in JSON as the one page that
// the API would answer with if pages had no limit.
type connectionList struct {
	out    io.Writer
	table  *tabwriter.Writer // nil: JSON
	listed int
}

func newConnectionList(out io.Writer, asJSON bool) *connectionList {
	l := &connectionList{out: out}
	if !asJSON {
		l.table = tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	}
	return l
}

func (l *connectionList) add(info pleoauth.ConnectionInfo) error {
	first := l.listed == 0
	l.listed++
	if l.table == nil {
		before := ",\n"
		if first {
			before = `{"connections":[` + "\n"
		}
		text, err := json.Marshal(info)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(l.out, "%s%s", before, text)
		return err
	}
	if first {
		_, _ = fmt.Fprintln(l.table, "NAME\tSTATE\tTOKEN UNTIL\tCOMPANY\tNOTE")
	}
	_, err := fmt.Fprintf(l.table, "%s\t%s\t%s\t%s\t%s\n",
		info.Name, orDash(string(info.State)), moment(info.ExpiresAt), orDash(printable(info.Subject)), noteOn(info))
	return err
}

func (l *connectionList) end() error {
	switch {
	case l.table != nil && l.listed == 0:
		_, err := fmt.Fprintln(l.out, "There are no connections.")
		return err
	case l.table != nil:
		return l.table.Flush()
	case l.listed == 0:
		_, err := fmt.Fprintln(l.out, `{"connections":[]}`)
		return err
	}
	_, err := fmt.Fprintln(l.out, "\n]}")
	return err
}

// noteOn says in a few words what is not as it should be.
func noteOn(info pleoauth.ConnectionInfo) string {
	var notes []string
	if info.Reason != "" {
		notes = append(notes, string(info.Reason))
	}
	if info.LastError != "" {
		notes = append(notes, info.LastError)
	}
	if !info.FailingSince.IsZero() {
		notes = append(notes, "calls fail since "+moment(info.FailingSince))
	}
	if info.KeyMissing {
		notes = append(notes, "no key opens it ("+info.KeyID+")")
	}
	if info.MissingScopes != nil {
		notes = append(notes, "not granted: "+printable(strings.Join(info.MissingScopes, " ")))
	}
	if info.Attempts > 0 {
		notes = append(notes, fmt.Sprintf("%d failed", info.Attempts))
	}
	if info.Unsettled {
		notes = append(notes, "unsettled")
	}
	if info.Unpinned {
		notes = append(notes, "company not confirmed")
	}
	if info.Introspection != "" {
		notes = append(notes, "introspection "+printable(info.Introspection))
	}
	return strings.Join(notes, ", ")
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// printable keeps what comes from Pleo's server from steering a terminal.
func printable(text string) string {
	if quoted := strconv.QuoteToASCII(text); quoted != `"`+text+`"` {
		return quoted
	}
	return text
}

// printJSON prints what programs read.
func printJSON(w io.Writer, value any) error { return json.NewEncoder(w).Encode(value) }
