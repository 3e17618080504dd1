package docs_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// The rules that are listed are those that the simulation is shown to need.
func TestTheListOfRulesIsWhatIsTakenOutInTests(t *testing.T) {
	var tested, listed []string
	source := regexp.MustCompile(`(?s)var rules = map.*?\n}\n`).FindString(read(t, "../pleoauth/rules_test.go"))
	for _, m := range regexp.MustCompile(`(?m)^\t"(.*?)":`).FindAllStringSubmatch(source, -1) {
		tested = append(tested, m[1])
	}
	list := regexp.MustCompile(`(?s)<!-- rules -->\n.*?<!-- end -->`).FindString(read(t, "reliability.md"))
	for _, m := range regexp.MustCompile(`(?m)^- (.*)$`).FindAllStringSubmatch(list, -1) {
		listed = append(listed, m[1])
	}
	require.NotEmpty(t, tested)
	require.ElementsMatch(t, tested, listed)
}
