package docs_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each attack has a defence, and a test that plays the attacker. That the test
// exists is looked at for all documents.
func TestEachAttackNamesItsTest(t *testing.T) {
	_, table, found := strings.Cut(read(t, "security.md"), "| attacker |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	rows := strings.Split(table, "\n")[2:]
	require.NotEmpty(t, rows)
	for _, line := range rows {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		require.Len(t, cells, 4, line)
		require.Regexp(t, "^"+testName.String(), cells[3], cells[1])
	}
}
