package pleoauth

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSealedDataOpensForItsPurposeAlone(t *testing.T) {
	ring, err := NewKeyring(GenerateKey())
	require.NoError(t, err)
	sealed := ring.seal([]byte("a grant"), "connection a")
	plain, err := ring.open(sealed, "connection a")
	require.NoError(t, err)
	require.Equal(t, "a grant", string(plain))
	_, err = ring.open(sealed, "connection b")
	require.ErrorIs(t, err, ErrSealed)
}

func TestSealedDataThatWasChangedInAnyBitOrCutShortIsRefused(t *testing.T) {
	ring, err := NewKeyring(GenerateKey())
	require.NoError(t, err)
	sealed := ring.seal([]byte("a grant"), "p")
	for bit := range len(sealed) * 8 {
		changed := append([]byte(nil), sealed...)
		changed[bit/8] ^= 1 << (bit % 8)
		_, err := ring.open(changed, "p")
		require.ErrorIs(t, err, ErrSealed, "bit %d", bit)
	}
	for length := range sealed {
		_, err := ring.open(sealed[:length], "p")
		require.ErrorIs(t, err, ErrSealed, "length %d", length)
	}
}

func TestTheFirstKeySealsAndEveryKeyOpens(t *testing.T) {
	first, second := GenerateKey(), GenerateKey()
	before, err := NewKeyring(first)
	require.NoError(t, err)
	sealed := before.seal([]byte("a grant"), "p")

	both, err := NewKeyring(second, first)
	require.NoError(t, err)
	_, err = both.open(sealed, "p")
	require.NoError(t, err)
	again := both.seal([]byte("a grant"), "p")

	after, err := NewKeyring(second)
	require.NoError(t, err)
	_, err = after.open(again, "p")
	require.NoError(t, err)
	_, err = after.open(sealed, "p")
	require.ErrorIs(t, err, ErrSealed)
	require.ErrorContains(t, err, sealedWith(sealed), "the error names the key that is missing")
}

func TestAKeyThatCannotWorkIsNamedByItsPositionAndNotRepeated(t *testing.T) {
	for _, bad := range []string{"", "not base64!", base64.StdEncoding.EncodeToString([]byte("too short")), GenerateKey() + "AAAA"} {
		_, err := NewKeyring(GenerateKey(), bad)
		require.ErrorIs(t, err, ErrConfig)
		require.ErrorContains(t, err, "encryption_key 2 of 2")
		if bad != "" {
			require.NotContains(t, err.Error(), bad)
		}
	}
	_, err := NewKeyring()
	require.ErrorIs(t, err, ErrConfig)
}

func TestAKeyIsTakenInEitherAlphabetPaddedOrNot(t *testing.T) {
	raw := strings.Repeat("\xfb\xff", 16)
	for _, text := range []string{
		base64.StdEncoding.EncodeToString([]byte(raw)), base64.RawStdEncoding.EncodeToString([]byte(raw)),
		base64.URLEncoding.EncodeToString([]byte(raw)), base64.RawURLEncoding.EncodeToString([]byte(raw)) + "\n",
	} {
		_, err := NewKeyring(text)
		require.NoError(t, err)
	}
}

func TestAGrantAndATokenNeverPrintTheirTokens(t *testing.T) {
	g := Grant{AccessToken: "secret-access", RefreshToken: "secret-refresh"}
	token := &Token{authorization: "Bearer secret-access"}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "grant", g, "pointer", &g, "token", token)
	for _, text := range []string{
		fmt.Sprint(g), fmt.Sprintf("%v %+v %#v %s %q %x %d", g, g, g, g, g, g, g), fmt.Sprintf("%v %#v", &g, &g),
		fmt.Sprintf("%v %s %#v", token, token, token), log.String(),
	} {
		require.NotContains(t, text, "secret")
		require.NotContains(t, text, "736563726574") // the same in hex
	}
}
