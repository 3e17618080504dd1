package test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// keyLength is how much of a secret's form is looked up at each place. The
// emulator lists no shorter secrets.
const keyLength = 8

// forms are the ways in which a secret can appear in a text.
func forms(secret string) map[string]string {
	quoted, _ := json.Marshal(secret) // a string: it cannot fail
	all := map[string]string{
		"raw":        secret,
		"form":       url.QueryEscape(secret),
		"path":       url.PathEscape(secret),
		"JSON":       string(quoted[1 : len(quoted)-1]),
		"hex":        hex.EncodeToString([]byte(secret)),
		"Go":         strings.Trim(fmt.Sprintf("%q", secret), `"`),
		"Go's bytes": strings.Trim(fmt.Sprintf("%d", []byte(secret)), "[]"),
	}
	// In base64, what stands before a secret shifts it; the characters that it
	// shares with its neighbours are left out.
	for shift, start := range []int{0, 2, 3} {
		shifted := append(make([]byte, shift), secret...)
		end := len(shifted) * 8 / 6
		all[fmt.Sprintf("base64+%d", shift)] = base64.StdEncoding.EncodeToString(shifted)[start:end]
		all[fmt.Sprintf("base64url+%d", shift)] = base64.URLEncoding.EncodeToString(shifted)[start:end]
	}
	return all
}

// find returns where secrets are in texts: "in <text>: <secret> as <form>".
func find(texts map[string]string, secrets []string) []string {
	type pattern struct{ text, says string }
	index := make(map[string][]pattern)
	for _, secret := range secrets {
		for name, form := range forms(secret) {
			index[form[:keyLength]] = append(index[form[:keyLength]], pattern{form, fmt.Sprintf("%s as %s", secret, name)})
		}
	}
	found := make(map[string]bool)
	for name, text := range texts {
		for i := range max(0, len(text)-keyLength+1) {
			for _, p := range index[text[i:i+keyLength]] {
				if strings.HasPrefix(text[i:], p.text) {
					found[fmt.Sprintf("in %s: %s", name, p.says)] = true
				}
			}
		}
	}
	var list []string
	for hit := range found {
		list = append(list, hit)
	}
	slices.Sort(list)
	return list
}

func TestTheSearchForSecretsFindsThemInEveryForm(t *testing.T) {
	t.Parallel()
	secrets := []string{"kZ3nq8WvT5+x/Y=:0~%41Rm7", "plain-secret_of-letters", "with \"quotes\" & spaces"}
	for _, secret := range secrets {
		for name, form := range forms(secret) {
			hits := find(map[string]string{"noise": "before" + form + "after"}, secrets)
			require.NotEmpty(t, hits, "%s as %s", secret, name)
		}
		for _, header := range []string{"a", "ab", "abc"} {
			basic := base64.StdEncoding.EncodeToString([]byte(header + ":" + secret))
			require.NotEmpty(t, find(map[string]string{"noise": "Basic " + basic}, secrets))
		}
		require.Empty(t, find(map[string]string{"noise": "before" + secret[1:] + "after"}, []string{secret}))
	}
}
