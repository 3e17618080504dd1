package pleoauth_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheLibraryImportsNoCaddyNoZapAndNoPrometheus(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "./...").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, forbidden := range []string{"github.com/caddyserver/", "go.uber.org/zap", "github.com/prometheus/"} {
		for line := range strings.Lines(string(out)) {
			require.False(t, strings.HasPrefix(line, forbidden), "pleoauth must not import %s", strings.TrimSpace(line))
		}
	}
}
