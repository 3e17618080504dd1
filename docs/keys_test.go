package docs_test

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/redisstore"
)

func TestTheReportOfRekeyIsDocumented(t *testing.T) {
	text := read(t, "keys.md")
	for _, field := range fields(reflect.TypeFor[pleoauth.RekeyReport]()) {
		require.Contains(t, text, "`"+field+"`")
	}
	require.Contains(t, read(t, "../caddymodule/commandrekey.go"), "exitLeft = 7")
	require.Contains(t, text, "\n| 7 | something is left")
}

// Without rights, the user default makes Redis refuse its own append-only file.
func TestNothingThatIsShownOrShippedTakesTheRightsOfTheUserDefault(t *testing.T) {
	texts := []string{read(t, "../deploy/compose.yaml")}
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			texts = append(texts, b.text)
		}
	}
	for _, folder := range []string{"../deploy/kubernetes", "../examples"} {
		require.NoError(t, filepath.WalkDir(folder, func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.Type().IsRegular() {
				texts = append(texts, read(t, path))
			}
			return err
		}))
	}
	found := 0
	for _, line := range regexp.MustCompile(`(?i)\buser default [^"\n]*`).FindAllString(strings.Join(texts, "\n"), -1) {
		if strings.Contains(line, "keeps its rights") { // a comment
			continue
		}
		require.Contains(t, line, " allkeys allchannels allcommands", line)
		found++
	}
	require.Equal(t, 2, found, "docs/keys.md and start.sh")
}

// The user that operators are told to make is the one that every store under
// test logs in as: a server that has the line takes the very commands.
func TestTheDocumentedRedisUserIsTheOneThatTheTestsUse(t *testing.T) {
	off, line, _ := strings.Cut(strings.TrimSpace(commented(t, "acl: users")), "\n")
	require.Equal(t, "user default off allkeys allchannels allcommands", off)
	require.Equal(t, "user pleo on >PASSWORD "+redisstore.LeastACL, line)
	server := redistest.Start(t)
	conf, err := os.ReadFile(server.Dir() + "/redis.conf")
	require.NoError(t, err)
	require.Contains(t, string(conf), "\n"+strings.Replace(line, "PASSWORD", redistest.Password, 1)+"\n")
	require.Contains(t, server.URL(), redistest.User+":"+redistest.Password+"@")
}
