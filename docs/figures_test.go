package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/figures/page"
)

func TestFiguresAreThoseThatWereMeasured(t *testing.T) {
	figures, err := page.Read(".")
	require.NoError(t, err)
	document := read(t, "reliability.md")
	filled, err := page.Fill(document, figures)
	require.NoError(t, err)
	require.Equal(t, filled, document, "run: go run ./internal/figures")
}

var (
	testName = regexp.MustCompile("`(Test[A-Za-z0-9_]+)`")
	testFunc = regexp.MustCompile(`(?m)^func (Test[A-Za-z0-9_]+)\(`)
)

// Each row of the table of faults names a test, and each test that is named
// exists.
func TestTestsThatAreNamedExist(t *testing.T) {
	var existing []string
	require.NoError(t, filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, "_test.go") {
			for _, m := range testFunc.FindAllStringSubmatch(read(t, path), -1) {
				existing = append(existing, m[1])
			}
		}
		return err
	}))
	for _, file := range documents(t) {
		for _, m := range testName.FindAllStringSubmatch(read(t, file), -1) {
			require.Contains(t, existing, m[1], file)
		}
	}
	rows := faultRows(t)
	require.NotEmpty(t, rows)
	for _, row := range rows {
		require.Regexp(t, testName, row[4], row[0])
		require.NotRegexp(t, `[0-9]`, strings.Split(row[3], "<!--")[0], "%s: a figure that was typed", row[0])
	}
}

// faultRows returns the cells of the table of faults: fault, what happens, what
// the application sees, measured, test.
func faultRows(t *testing.T) (rows [][]string) {
	t.Helper()
	_, table, found := strings.Cut(read(t, "reliability.md"), "| fault |")
	require.True(t, found)
	table, _, _ = strings.Cut(table, "\n\n")
	for _, line := range strings.Split(table, "\n")[2:] {
		cells := strings.Split(strings.Trim(line, "| "), " | ")
		require.Len(t, cells, 5, line)
		rows = append(rows, cells)
	}
	return rows
}
