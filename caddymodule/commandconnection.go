package caddymodule

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// completionPatience bounds what completing a name in a shell may take.
const completionPatience = 2 * time.Second

// oneConnection makes a command that works on one connection, whose name it
// takes and completes.
func oneConnection(cmd *cobra.Command) (*cobra.Command, *apiFlags) {
	flags := addAPIFlags(cmd)
	cmd.Args = cobra.ExactArgs(1)
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		client, err := flags.client()
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionPatience)
		defer cancel()
		var names []string
		_ = client.eachConnection(ctx, func(info pleoauth.ConnectionInfo) error {
			if strings.HasPrefix(info.Name, prefix) {
				names = append(names, info.Name)
			}
			return nil
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	return cmd, flags
}

// connectionPath returns the path of a connection and what is done to it.
func connectionPath(name, action string) (string, error) {
	if err := pleoauth.CheckConnection(name); err != nil {
		return "", err
	}
	path := connectionsPath + "/" + url.PathEscape(name)
	if action != "" {
		path += "/" + action
	}
	return path, nil
}

// onConnection asks the proxy for something about one connection.
func (c *apiClient) onConnection(ctx context.Context, method, name, action string, body, answer any) error {
	path, err := connectionPath(name, action)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, body, answer)
}

func showCommand() *cobra.Command {
	cmd, flags := oneConnection(&cobra.Command{
		Use:   "show <name> [--json]",
		Short: "Shows what a running proxy has of one connection",
		Long: `
Shows state, company, times and last error of one connection. No token is ever
shown.
`,
	})
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, args []string) error {
		var info pleoauth.ConnectionInfo
		if err := client.onConnection(ctx, http.MethodGet, args[0], "", nil, &info); err != nil {
			return err
		}
		return printConnection(cmd.OutOrStdout(), info, flags.json)
	})
	return cmd
}

func printConnection(w io.Writer, info pleoauth.ConnectionInfo, asJSON bool) error {
	if asJSON {
		return printJSON(w, info)
	}
	table := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" && value != "-" {
			_, _ = fmt.Fprintf(table, "%s:\t%s\n", name, value)
		}
	}
	line("name", info.Name)
	line("state", string(info.State))
	line("reason", string(info.Reason))
	line("company", printable(info.Subject))
	if info.Unpinned {
		line("company", "not confirmed yet: Pleo could not be asked which one it is")
	}
	line("generation", fmt.Sprint(info.Generation))
	line("token obtained", moment(info.ObtainedAt))
	line("token until", moment(info.ExpiresAt))
	if !info.FailingSince.IsZero() {
		line("calls fail since", moment(info.FailingSince))
	}
	line("last error", info.LastError)
	if info.Attempts > 0 {
		line("failed refreshes", fmt.Sprint(info.Attempts))
	}
	if info.Unsettled {
		line("unsettled", "a refresh may or may not have been processed; Pleo is asked")
	}
	if info.Introspection != "" {
		line("introspection", printable(info.Introspection)+": Pleo calls refresh tokens inactive that it has just issued")
	}
	if info.MissingScopes != nil {
		line("not granted", printable(strings.Join(info.MissingScopes, " ")))
	}
	if info.KeyMissing {
		line("calls fail", "no configured key opens the tokens")
	}
	line("sealed with key", info.KeyID)
	return table.Flush()
}

func refreshCommand() *cobra.Command {
	cmd, flags := oneConnection(&cobra.Command{
		Use:   "refresh <name> [--json]",
		Short: "Has a connection's tokens refreshed now",
		Long: `
Has a running proxy refresh the tokens of a connection, waits for it, and shows the
connection as it is then. The proxy refreshes by itself: this is for trying
whether it can. It does not wait for the time that Pleo has named for the next
attempt (Retry-After), so use it once, and not in a loop.
`,
	})
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, args []string) error {
		var info pleoauth.ConnectionInfo
		if err := client.onConnection(ctx, http.MethodPost, args[0], "refresh", nil, &info); err != nil {
			return err
		}
		return printConnection(cmd.OutOrStdout(), info, flags.json)
	})
	return cmd
}

func disconnectCommand() *cobra.Command {
	cmd, flags := oneConnection(&cobra.Command{
		Use:   "disconnect <name> [--json]",
		Short: "Wipes a connection's tokens",
		Long: `
Has a running proxy wipe the tokens of a connection, in the store and in all
replicas. Calls for it are answered with 401 from then on, until somebody
authorises it again. It does not ask whether you are sure.
`,
	})
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, args []string) error {
		if err := client.onConnection(ctx, http.MethodDelete, args[0], "", nil, nil); err != nil {
			return err
		}
		if flags.json {
			return printJSON(cmd.OutOrStdout(), map[string]any{"name": args[0], "state": pleoauth.StateDisconnected})
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s is disconnected.\n", args[0])
		return err
	})
	return cmd
}

func authoriseURLCommand() *cobra.Command {
	cmd, flags := oneConnection(&cobra.Command{
		Use:   "authorise-url <name> [--subject <urn>] [--return-to <path or URL>] [--json]",
		Short: "Makes a one-time link that connects a company",
		Long: `
Has a running proxy make a link with which a user connects a company under this
name, once: also one that there is not yet. Give it to nobody but that user.
`,
	})
	subject := cmd.Flags().String("subject", "", "The company that has to authorise, such as urn:pleo:company:<uuid>")
	returnTo := cmd.Flags().String("return-to", "", "Where the browser goes afterwards: a path of the proxy's site, or a URL on return_to_origins")
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, args []string) error {
		var link linkAnswer
		request := linkRequest{Subject: *subject, ReturnTo: *returnTo}
		if err := client.onConnection(ctx, http.MethodPost, args[0], "authorise-url", request, &link); err != nil {
			return err
		}
		if flags.json {
			return printJSON(cmd.OutOrStdout(), link)
		}
		cmd.PrintErrf("Good once, for %v:\n", time.Duration(link.ExpiresIn)*time.Second)
		_, err := fmt.Fprintln(cmd.OutOrStdout(), link.URL)
		return err
	})
	return cmd
}
