// Command figures puts what `make faults` and `make simulate` came to into docs/reliability.md.
// Run it in the repository's root.
package main

import (
	"fmt"
	"os"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/figures/page"
)

func main() {
	if err := run("docs", "docs/reliability.md"); err != nil {
		fmt.Fprintln(os.Stderr, "figures:", err)
		os.Exit(1)
	}
}

func run(dir, pageFile string) error {
	figures, err := page.Read(dir)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(pageFile) //nolint:gosec // a fixed name
	if err != nil {
		return err
	}
	filled, err := page.Fill(string(text), figures)
	if err != nil {
		return fmt.Errorf("%s: %w", pageFile, err)
	}
	return os.WriteFile(pageFile, []byte(filled), 0o644) //nolint:gosec // it is documentation
}
