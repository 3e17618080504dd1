package caddymodule_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the JSON of golden cases anew; read the difference before keeping it")

const separator = "\n----------\n"

// TestCaddyfilesAdaptAsRecorded runs testdata/adapt: a Caddyfile, a line of
// dashes, and the JSON that it becomes or, if that does not start with a brace,
// a part of the error for each line.
func TestCaddyfilesAdaptAsRecorded(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			content, err := os.ReadFile(file)
			require.NoError(t, err)
			caddyfile, expected, ok := strings.Cut(string(content), separator)
			require.True(t, ok, "there is no line of dashes")
			expected = strings.TrimSpace(expected)

			config, err := adapt(caddyfile)
			if !strings.HasPrefix(expected, "{") {
				require.Error(t, err)
				for line := range strings.Lines(expected) {
					require.ErrorContains(t, err, strings.TrimSpace(line))
				}
				return
			}
			require.NoError(t, err)
			if *update {
				var pretty bytes.Buffer
				require.NoError(t, json.Indent(&pretty, config, "", "\t"))
				require.NoError(t, os.WriteFile(file, []byte(caddyfile+separator+pretty.String()+"\n"), 0o644))
				return
			}
			require.JSONEq(t, expected, string(config))
		})
	}
}

func adapt(caddyfile string) ([]byte, error) {
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	return config, err
}
