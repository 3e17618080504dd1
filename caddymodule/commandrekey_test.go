package caddymodule

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// rekeyPages serves reports as a proxy would, by cursor.
func rekeyPages(t *testing.T, pages map[string]pleoauth.RekeyReport) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, ok := pages[r.URL.Query().Get("cursor")]
		if r.Method != http.MethodPost || r.URL.Path != rekeyPath || !ok {
			p := storeUnavailable("", "The store of grants cannot be reached at the moment.", 0)
			w.WriteHeader(p.Status)
			_ = json.NewEncoder(w).Encode(p)
			return
		}
		_ = json.NewEncoder(w).Encode(page)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestRekeyAddsUpItsPagesAndSaysThatAllIsDone(t *testing.T) {
	address := rekeyPages(t, map[string]pleoauth.RekeyReport{
		"":  {KeyID: "aa", Connections: 3, Resealed: 2, Already: 1, Next: "c"},
		"c": {KeyID: "aa", Connections: 2, WithoutGrant: 2},
	})
	out, err := run(t, rekeyCommand(), "--address", address)
	require.NoError(t, err)
	require.Contains(t, out, "sealed anew:      2\n")
	require.Contains(t, out, "Everything is sealed with the first key.")

	out, err = run(t, rekeyCommand(), "--address", address, "--json")
	require.NoError(t, err)
	var total pleoauth.RekeyReport
	require.NoError(t, json.Unmarshal([]byte(out), &total))
	require.Equal(t, []int{5, 2, 1, 2}, []int{total.Connections, total.Resealed, total.Already, total.WithoutGrant})
}

func TestRekeyHasNothingLeftToDoAboutRecordsOfOtherClients(t *testing.T) {
	address := rekeyPages(t, map[string]pleoauth.RekeyReport{"": {KeyID: "aa", Connections: 3, Already: 1, Foreign: 2}})
	out, err := run(t, rekeyCommand(), "--address", address)
	require.NoError(t, err)
	require.Contains(t, out, "of other clients: 2\n")
	require.Contains(t, out, "Everything is sealed with the first key. The others may go once every replica has had it first for 25 minutes.")
}

func TestRekeyFailsAndNamesTheKeysWhereSomethingIsLeft(t *testing.T) {
	address := rekeyPages(t, map[string]pleoauth.RekeyReport{"": {
		KeyID: "aa", Connections: 1, Left: 1, LeftByKey: map[string]int{"bb": 1},
		Failures: []pleoauth.RekeyFailure{{Connection: "acme", KeyID: "bb", Error: "no encryption_key with id bb is configured"}},
	}})
	out, err := run(t, rekeyCommand(), "--address", address)
	require.Error(t, err)
	require.Equal(t, exitLeft, exitCode(errLeft))
	require.Contains(t, out, "left with key bb: 1\n")
	require.Contains(t, out, "acme: no encryption_key with id bb is configured\n")
	require.NotContains(t, out, "Everything")
}

func TestRekeyThatIsInterruptedSaysHowFarItCame(t *testing.T) {
	address := rekeyPages(t, map[string]pleoauth.RekeyReport{"": {KeyID: "aa", Connections: 3, Resealed: 3, Next: "c"}})
	out, err := run(t, rekeyCommand(), "--address", address)
	require.Error(t, err)
	require.Contains(t, out, "Stopped after 3 connections")
	require.Contains(t, out, "cannot be reached")
}

func TestRekeyStopsWhenTheFirstKeyChangesMeanwhile(t *testing.T) {
	address := rekeyPages(t, map[string]pleoauth.RekeyReport{
		"":  {KeyID: "aa", Connections: 3, Resealed: 3, Next: "c"},
		"c": {KeyID: "bb", Connections: 1, Resealed: 1},
	})
	_, err := run(t, rekeyCommand(), "--address", address)
	require.ErrorContains(t, err, "the first encryption_key has changed meanwhile")
}
