package docs_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var writeGate = flag.Bool("write-gate", false, "write the table of gate.md anew, from figures-gate.json")

var measuredTable = regexp.MustCompile(`(?s)(<!-- measured: gate -->\n).*?(<!-- end -->)`)

// The table of gate.md is never typed: `make measure-gate` writes it.
func TestTheTableOfTheGateIsWhatWasMeasured(t *testing.T) {
	document := read(t, "gate.md")
	require.Regexp(t, measuredTable, document)
	written := measuredTable.ReplaceAllString(document, "${1}"+gateTable(t)+"${2}")
	if *writeGate {
		require.NoError(t, os.WriteFile("gate.md", []byte(written), 0o644))
		return
	}
	require.Equal(t, written, document, "run: go test -run %s ./docs -write-gate", t.Name())
}

func gateTable(t *testing.T) string {
	t.Helper()
	var figures map[string]map[string]float64
	require.NoError(t, json.Unmarshal([]byte(read(t, "figures-gate.json")), &figures))
	var table strings.Builder
	table.WriteString("| a call takes | its token is judged at its | way | refreshes | 401s per refresh | around a refresh, ms: p50 | p90 | p99 | apart from one: p50 | p90 | p99 |\n")
	table.WriteString("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, takes := range []string{"50ms", "300ms"} {
		for _, judged := range []string{"start", "end"} {
			for _, way := range []string{"told", "drained", "alone"} {
				row := figures[fmt.Sprintf("%s, %s, %s", way, takes, judged)]
				require.NotEmpty(t, row, "%s, %s, %s", way, takes, judged)
				require.GreaterOrEqual(t, row["refreshes"], 60.0)
				fmt.Fprintf(&table, "| %s | %s | %s | %.0f | %.2f |", takes, judged, way, row["refreshes"], row["401s per refresh"])
				for _, of := range []string{"around a refresh", "apart from one"} {
					for _, figure := range []string{"p50", "p90", "p99"} {
						fmt.Fprintf(&table, " %.0f |", row[of+" "+figure+" ms"])
					}
				}
				table.WriteString("\n")
			}
		}
	}
	return table.String()
}
