package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

// Exit codes of the commands that ask a running proxy. Caddy has 0 for success
// and 1 for whatever is not told apart, a wrong flag for instance.
const (
	exitFailed       = 1
	exitUnreachable  = 3 // no proxy answers
	exitNotConnected = 4 // there is no such connection
	exitReauthorise  = 5 // a user has to authorise first, or the record is another client's
	exitTryAgain     = 6 // it does not work at the moment
)

// asking makes a command's RunE of a function that asks a running proxy by its
// routes under /pleo/.
func asking(f *apiFlags, run func(ctx context.Context, cmd *cobra.Command, client *apiClient, args []string) error) func(*cobra.Command, []string) error {
	return withExitCode(func(ctx context.Context, cmd *cobra.Command, args []string) error {
		client, err := f.client()
		if err != nil {
			return err
		}
		return run(ctx, cmd, client, args)
	})
}

// withExitCode makes a command's RunE of a function. An error is printed with
// what to do about it, and has its exit code.
func withExitCode(run func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := run(cmd.Context(), cmd, args)
		if err == nil {
			return nil
		}
		cmd.PrintErrln("Error:", err.Error())
		if hint := hintFor(err); hint != "" {
			cmd.PrintErrln(hint)
		}
		cmd.SilenceErrors, cmd.SilenceUsage = true, true
		code := exitCode(err)
		if code == exitFailed {
			return err
		}
		// The only way to another exit code than 1: Caddy keeps the type to itself.
		return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, args)
	}
}

func exitCode(err error) int {
	if errors.Is(err, errUnreachable) {
		return exitUnreachable
	}
	if errors.Is(err, errLeft) {
		return exitLeft
	}
	if errors.Is(err, errNotReady) {
		return exitTryAgain
	}
	refused, ok := errors.AsType[*refusedError](err)
	if !ok || refused.Type == "" {
		return exitFailed
	}
	switch {
	case refused.Type == ownPath().Type:
		return exitUnreachable
	case refused.Status == http.StatusNotFound:
		return exitNotConnected
	case refused.Status == http.StatusConflict:
		return exitReauthorise
	case refused.Status >= http.StatusInternalServerError:
		return exitTryAgain
	}
	return exitFailed
}

// hintFor says what to do about an error, or "".
func hintFor(err error) string {
	if refused, ok := errors.AsType[*refusedError](err); errors.Is(err, errUnreachable) || ok && refused.Type == ownPath().Type {
		return "Is it running? --address or --config says where its admin endpoint is; `localhost:2019` unless the configuration or CADDY_ADMIN says otherwise."
	}
	refused, ok := errors.AsType[*refusedError](err)
	if !ok {
		return ""
	}
	switch exitCode(err) {
	case exitNotConnected:
		return fmt.Sprintf("Names count case. `pleo connections` lists those that there are; `pleo authorise-url %s` makes a link that connects this one.", refused.Connection)
	case exitReauthorise:
		if refused.AuthoriseURI != "" {
			return fmt.Sprintf("`pleo authorise-url %s` makes a link for somebody who may authorise it.", refused.Connection)
		}
	case exitTryAgain:
		return "Try again in a moment. `pleo health` and the proxy's log say more."
	}
	return ""
}
