package caddymodule

import (
	"encoding/json"
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "pleo",
		Usage: "<command>",
		Short: "Works with the proxy's connections to Pleo",
		Long: `
Commands for the proxy that sends calls to Pleo with the right access token.
`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, unknownCommand
			cmd.AddCommand(
				connectionsCommand(), showCommand(), refreshCommand(), disconnectCommand(), authoriseURLCommand(),
				keygenCommand(), healthCommand(), rekeyCommand(),
			)
		},
	})
}

// unknownCommand says which commands there are, and fails if it was given another.
func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, known := range cmd.Commands() {
		names = append(names, known.Name())
	}
	return fmt.Errorf("there is no command %q: pleo has %s", args[0], strings.Join(names, ", "))
}

func keygenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keygen [--json]",
		Short: "Makes a key for the option encryption_key",
		Long: `
Prints a new key that grants can be sealed with: base64 of 32 random bytes. Keep
it where secrets are kept, give it to every replica, and put the placeholder of
it into the configuration:

	encryption_key {env.PLEO_ENCRYPTION_KEY}

To change keys, put a new one before the old one; the old one goes on opening
what it has sealed, until pleo rekey has sealed that anew.
`,
		Args: cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "Print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		key := pleoauth.GenerateKey()
		if *asJSON {
			return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]string{"key": key})
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), key)
		return err
	}
	return cmd
}
