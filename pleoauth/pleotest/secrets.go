package pleotest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
)

// Secrets lists what must not appear in a log, an error message or a store in
// the clear: every token, code and client secret that the emulator ever issued
// or received, every state, code verifier and password, each as it is and as
// it looks in a form and in JSON. Of its own tokens and codes the core is listed too, which
// survives every encoding. Values shorter than 8 characters are left out: they
// are found everywhere.
func (e *Emulator) Secrets() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.secrets))
}

// remember is called with e.mu held.
func (e *Emulator) remember(values ...string) {
	for _, value := range values {
		if len(value) < 8 {
			continue
		}
		e.secrets[value] = struct{}{}
		e.secrets[url.QueryEscape(value)] = struct{}{}
		if quoted, err := json.Marshal(value); err == nil {
			e.secrets[string(quoted[1:len(quoted)-1])] = struct{}{}
		}
	}
}

// secretCore is 256 random bits in characters that no encoding changes.
func (e *Emulator) secretCore() string {
	core := randomText()
	e.secrets[core] = struct{}{}
	return core
}

func randomText() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: it ends the program instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func newUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return formatUUID(b)
}

func formatUUID(b [16]byte) string {
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
