package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// exitLeft is the exit code where something is left that no key opens.
	exitLeft = 7
	// rekeyAtATime is how many connections one request takes on.
	rekeyAtATime = 500
	// progressEvery is how often progress is told.
	progressEvery = 2 * time.Second
)

// errLeft is returned when not everything could be sealed anew.
var errLeft = errors.New("not everything could be sealed with the first key; what is left is as it was")

func rekeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rekey [--json]",
		Short: "Seals every grant with the first encryption key",
		Long: `
Has a running proxy seal every grant in its store with the first encryption_key, so
that keys after it can be taken out of the configuration. Reload every replica
with the new key first, then run this once.

It changes nothing but what grants are sealed with, and may be run at any time and
be interrupted: run it again, and what is done is passed over. It fails with
exit code 7 if something is left that no configured key opens, and names the keys.
`,
		Args: cobra.NoArgs,
	}
	flags := addAPIFlags(cmd)
	cmd.RunE = asking(flags, func(ctx context.Context, cmd *cobra.Command, client *apiClient, _ []string) error {
		total, err := client.rekey(ctx, func(soFar pleoauth.RekeyReport) {
			if !flags.json {
				cmd.PrintErrf("%d connections looked at, %d sealed anew\n", soFar.Connections, soFar.Resealed)
			}
		})
		if err != nil {
			cmd.PrintErrf("Stopped after %d connections, of which %d were sealed anew. Run it again: what is done is passed over.\n", total.Connections, total.Resealed)
			return err
		}
		if err := printRekey(cmd.OutOrStdout(), total, flags.json); err != nil {
			return err
		}
		if !total.Done() {
			return errLeft
		}
		return nil
	})
	return cmd
}

// rekey has the proxy seal everything anew, in requests that are short each.
func (c *apiClient) rekey(ctx context.Context, progress func(pleoauth.RekeyReport)) (pleoauth.RekeyReport, error) {
	var total pleoauth.RekeyReport
	told := time.Now()
	for first := true; first || total.Next != ""; first = false {
		query := url.Values{"limit": {strconv.Itoa(rekeyAtATime)}}
		if !first {
			query.Set("cursor", total.Next)
		}
		var page pleoauth.RekeyReport
		if err := c.call(ctx, http.MethodPost, rekeyPath+"?"+query.Encode(), nil, &page); err != nil {
			return total, err
		}
		if !first && page.KeyID != total.KeyID {
			return total, errors.New("the first encryption_key has changed meanwhile")
		}
		total.Add(page)
		if time.Since(told) > progressEvery {
			told = time.Now()
			progress(total)
		}
	}
	return total, nil
}

func printRekey(w io.Writer, r pleoauth.RekeyReport, asJSON bool) error {
	if asJSON {
		return printJSON(w, r)
	}
	_, err := fmt.Fprintf(w, "first key:          %s\nconnections:        %d\n  sealed anew:      %d\n  had the key:      %d\n  nothing to seal:  %d\n  of other clients: %d\n  left as they are: %d\n",
		r.KeyID, r.Connections, r.Resealed, r.Already, r.WithoutGrant, r.Foreign, r.Left)
	if r.HeldResealed+r.HeldLeft > 0 {
		_, _ = fmt.Fprintf(w, "held on its disk:   %d sealed anew, %d left\n", r.HeldResealed, r.HeldLeft)
	}
	var ids []string
	for id := range r.LeftByKey {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		_, _ = fmt.Fprintf(w, "left with key %s: %d\n", orDash(id), r.LeftByKey[id])
	}
	for _, f := range r.Failures {
		_, _ = fmt.Fprintf(w, "  %s: %s\n", f.Connection+f.File, printable(f.Error))
	}
	if r.Done() {
		_, err = fmt.Fprintln(w, "Everything is sealed with the first key. The others may go once every replica has had it first for 25 minutes.")
	}
	return err
}
