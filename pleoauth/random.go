package pleoauth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
)

// random128 returns 128 random bits in hex: versions, nonces and lineages.
func random128() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (Go 1.24)
	return hex.EncodeToString(b[:])
}

// isRandom256 reports whether s could have come from random256.
func isRandom256(s string) bool {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	return err == nil && len(b) == 32 && len(s) == 43 // the decoder skips line ends
}

// random256 returns 256 random bits in 43 characters that a URL, a cookie and
// a PKCE verifier (RFC 7636, section 4.1) take as they are.
func random256() string {
	var b [32]byte
	_, _ = rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
