package pleoauth

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const canary = "canary-of-an-answer"

func FuzzTokenAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"access_token":"a","refresh_token":"b","expires_in":900,"token_type":"Bearer","scope":"users:read"}`, `{"error":"invalid_grant","error_description":"` + canary + `"}`,
		`{"access_token":"a\r\nX: y","refresh_token":"b"}`, `{"access_token":1}`, `{"access_token":"a","expires_in":"900"}`, `{"access_token":"a","expires_in":1e999}`,
		`{"access_token":"a","expires_in":-1,"scope":[]}`, `<html>` + canary, ``, `null`, `[]`, strings.Repeat("[", 20_000), `{"access_token":"a","access_token":""}`, "\x1f\x8b", `{"access_token":"a","refresh_token":"b","exp`, "\ufeff{\"access_token\":\" a\\n\",\"refresh_token\":\"b\"}//",
	} {
		for _, status := range []int{200, 400, 401, 429, 500, 307} {
			f.Add(status, seed, "spent")
		}
	}
	f.Fuzz(func(t *testing.T, status int, body, spent string) {
		g, err := answer{status: status, body: []byte(body)}.grant(spent)
		if err != nil {
			require.Zero(t, g)
			var typed *OAuthError
			require.ErrorAs(t, err, &typed)
			require.NotContains(t, err.Error(), canary, "an answer may repeat secrets")
			if status == http.StatusOK {
				require.ErrorIs(t, err, ErrAmbiguous, "what cannot be read may have been done")
			}
			return
		}
		require.True(t, status >= 200 && status < 300)
		require.True(t, validToken(g.AccessToken))
		require.NotContains(t, g.AccessToken, "\n")
		require.GreaterOrEqual(t, g.ExpiresIn, time.Duration(0))
		require.LessOrEqual(t, g.ExpiresIn, maxLife)
		if g.RefreshToken == spent {
			require.True(t, g.NoRefreshToken, "a spent token is never taken for a new one")
		}
	})
}

// answering is a server that gives one answer.
type answering struct {
	status int
	body   string
}

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: a.status, Header: http.Header{"Location": {"https://evil.example/"}, "Retry-After": {a.body}},
		Body: io.NopCloser(strings.NewReader(a.body)), Request: req,
	}, nil
}

func FuzzIntrospectionAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"active":true,"urn:pleo:params:oauth:subject_urn":"urn:pleo:company:1"}`, `{"active":false}`, `{"active":"true"}`, `{"active":1}`, `{}`, `null`, `{"active":null}`, ``,
		`{"data":{"subjectURN":"urn:pleo:company:1"}}`, `{"data":[]}`, `{"error":"invalid_client"}`, `{"error":["` + canary + `"]}`, `<html>` + canary, strings.Repeat(`{"a":`, 20_000),
		`{"active":true}{"active":false}`, `{"active":true,"active":false}`,
	} {
		for _, status := range []int{200, 302, 401, 404, 503} {
			f.Add(status, seed)
		}
	}
	client, err := NewClient(Config{ClientID: "acme", ClientSecret: "acme-secret"}, nil, nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, status int, body string) {
		client.pooled.Transport = answering{status, body}
		seen, err := client.Introspect(t.Context(), "the-token", RefreshTokenKind)
		subject, errAPI := client.APISubject(t.Context(), "the-token")
		for _, err := range []error{err, errAPI} {
			if err != nil {
				require.NotContains(t, err.Error(), canary)
				require.NotContains(t, err.Error(), "the-token")
			}
		}
		if err != nil {
			require.Zero(t, seen, "neither yes nor no")
		} else {
			require.Equal(t, http.StatusOK, status)
			var says bool
			read := readObject([]byte(body))
			require.True(t, read.whole)
			require.NoError(t, json.Unmarshal(read.members["active"], &says))
			require.Equal(t, says, seen.Active)
		}
		if errAPI != nil {
			require.Empty(t, subject)
		}
	})
}

// FuzzStoredBytes has whatever a store or a disk may give in place of a grant, a
// flow or a held pair: what was not sealed here, for this connection, opens as
// nothing.
func FuzzStoredBytes(f *testing.F) {
	keys, err := NewKeyring(GenerateKey())
	require.NoError(f, err)
	cfg := Config{ClientID: "acme"}.WithDefaults()
	s := &Source{spill: spill{dir: f.TempDir()}}
	s.settings.Store(&settings{client: &Client{cfg: cfg}, keys: keys})
	own := keys.seal([]byte(`{"access_token":"a","refresh_token":"b"}`), s.purpose("acme"))
	f.Add([]byte(nil), 0, byte(0))
	f.Add([]byte{1}, 3, byte(1))
	f.Add([]byte("{}"), len(own)-1, byte(0x80))
	f.Add(own[:30], 1, byte(0xff))
	f.Fuzz(func(t *testing.T, data []byte, at int, flip byte) {
		flipped := append([]byte(nil), own...)
		if at >= 0 && at < len(flipped) {
			flipped[at] ^= flip
		}
		for _, sealed := range [][]byte{data, flipped, append(append([]byte(nil), own...), data...)} {
			same := string(sealed) == string(own)
			_, err := s.openGrant("acme", sealed)
			require.Equal(t, same, err == nil)
			_, err = s.openGrant("other", sealed)
			require.ErrorIs(t, err, ErrSealed)
			path := filepath.Join(s.spill.dir, "x"+spillSuffix)
			require.NoError(t, os.WriteFile(path, sealed, 0o600))
			_, _, err = s.openSpilled(path)
			require.ErrorIs(t, err, ErrSealed)
		}
	})
}
