package test

import (
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

var codeInURL = regexp.MustCompile(`[?&]code=([^&]+)`)

// TestASecretThatIsPlantedIsFoundWhereverItIs proves that the test for leaks
// looks at the right places: each has a secret in it here.
func TestASecretThatIsPlantedIsFoundWhereverItIs(t *testing.T) {
	t.Parallel()
	l := startLife(t, config{secret: `"` + pleotest.DefaultClientSecret + `"`})
	l.connect(t, "default")
	token := l.newest().AccessToken

	// A caller writes a token into the URL, and a colleague into Redis.
	get(t, l.p.URL+"/v1/companies?note=x"+token)
	encodings := []string{"hex", "base64url+0", "base64url+1", "base64url+2"}
	for _, encoding := range encodings {
		get(t, l.p.URL+"/v1/companies?note="+forms(token)[encoding])
	}
	require.NoError(t, l.r.Client(t).Set(t.Context(), "planted", token, 0).Err())
	l.see(answer{status: 500, body: []byte("sorry, " + token), header: http.Header{}})

	texts := l.texts(t)
	texts["logs"] = l.p.stderr.String()
	hits := strings.Join(find(map[string]string{"logs": texts["logs"]}, []string{token}), "\n")
	for _, encoding := range append(encodings, "raw") {
		require.Contains(t, hits, "as "+encoding)
	}
	for _, place := range []string{"logs", "answers", "Redis", "/config", filepath.Join(l.p.dir, "config/caddy/autosave.json")} {
		require.NotEmpty(t, find(map[string]string{place: texts[place]}, l.secrets()), place)
	}
	var writes int
	for place, text := range texts {
		if filepath.Base(filepath.Dir(place)) == "appendonlydir" {
			writes += len(find(map[string]string{place: text}, l.secrets()))
		}
	}
	require.Positive(t, writes, "the files of Redis")
}
