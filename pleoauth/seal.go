package pleoauth

import (
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"
)

// ErrSealed is returned when sealed data cannot be opened: its key is not among
// those given, or it was changed, cut short, or sealed for something else.
var ErrSealed = errors.New("sealed data cannot be opened")

// SealedError says why sealed data cannot be opened. It wraps [ErrSealed].
type SealedError struct {
	// KeyID names the key that the data says it is sealed with; empty where it
	// is too short to say so.
	KeyID string
	// Missing is set where no key with that id is given. Otherwise the data was
	// changed, cut short, or sealed for something else.
	Missing bool

	text string
}

// Error says what is wrong, and names the key.
func (e *SealedError) Error() string { return ErrSealed.Error() + ": " + e.text }

// Unwrap makes [errors.Is] find [ErrSealed].
func (e *SealedError) Unwrap() error { return ErrSealed }

const (
	sealFormat = 1
	keyIDSize  = 4
	// sealHeader is the format, the key's id and the nonce.
	sealHeader = 1 + keyIDSize + chacha20poly1305.NonceSizeX
)

// Keyring seals with its first key and opens with any of them, so that keys
// can be changed while everything runs. It uses XChaCha20-Poly1305: nonces are
// long enough to be random for any number of messages.
type Keyring struct {
	keys []sealingKey
}

type sealingKey struct {
	id   [keyIDSize]byte
	aead cipher.AEAD
}

// NewKeyring takes keys as [GenerateKey] prints them: base64, in either
// alphabet, padded or not, of 32 bytes. Errors wrap [ErrConfig] and tell the
// key's position, never the key.
func NewKeyring(keys ...string) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: encryption_key is missing", ErrConfig)
	}
	ring := &Keyring{}
	for i, text := range keys {
		key, err := decodeKey(text)
		if err != nil {
			return nil, fmt.Errorf("%w: encryption_key %d of %d %w", ErrConfig, i+1, len(keys), err)
		}
		aead, err := chacha20poly1305.NewX(key)
		if err != nil {
			return nil, fmt.Errorf("%w: encryption_key %d of %d: %w", ErrConfig, i+1, len(keys), err)
		}
		sum := sha256.Sum256(append([]byte("pleo-auth-proxy key id\x00"), key...))
		k := sealingKey{aead: aead}
		copy(k.id[:], sum[:])
		ring.keys = append(ring.keys, k)
	}
	return ring, nil
}

// GenerateKey returns a new random key in the form that [NewKeyring] takes.
func GenerateKey() string {
	var key [chacha20poly1305.KeySize]byte
	_, _ = rand.Read(key[:])
	return base64.StdEncoding.EncodeToString(key[:])
}

func decodeKey(text string) ([]byte, error) {
	text = strings.TrimRight(strings.TrimSpace(text), "=")
	text = strings.NewReplacer("-", "+", "_", "/").Replace(text)
	key, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return nil, errors.New("is not base64") // err would quote a byte of the key
	}
	if len(key) != chacha20poly1305.KeySize {
		return nil, fmt.Errorf("is %d bytes long, not %d", len(key), chacha20poly1305.KeySize)
	}
	return key, nil
}

// seal encrypts plain for one purpose and owner: it opens only with the same.
func (r *Keyring) seal(plain []byte, purpose string) []byte {
	k := r.keys[0]
	out := make([]byte, sealHeader, sealHeader+len(plain)+chacha20poly1305.Overhead)
	out[0] = sealFormat
	copy(out[1:], k.id[:])
	_, _ = rand.Read(out[1+keyIDSize : sealHeader])
	return k.aead.Seal(out, out[1+keyIDSize:sealHeader], plain, associated(out, purpose))
}

// open decrypts what seal made for the same purpose. Errors wrap [ErrSealed].
func (r *Keyring) open(sealed []byte, purpose string) ([]byte, error) {
	if len(sealed) < sealHeader+chacha20poly1305.Overhead || sealed[0] != sealFormat {
		return nil, &SealedError{KeyID: sealedWith(sealed), text: "it is cut short or of another format"}
	}
	for _, k := range r.keys {
		if string(k.id[:]) != string(sealed[1:1+keyIDSize]) {
			continue
		}
		plain, err := k.aead.Open(nil, sealed[1+keyIDSize:sealHeader], sealed[sealHeader:], associated(sealed, purpose))
		if err != nil {
			return nil, &SealedError{KeyID: sealedWith(sealed), text: "it was changed, or sealed for something else (key id " + sealedWith(sealed) + ")"}
		}
		return plain, nil
	}
	return nil, &SealedError{KeyID: sealedWith(sealed), Missing: true, text: "no encryption_key with id " + sealedWith(sealed) + " is configured"}
}

// KeyIDs returns the ids of the keys, in hex, the one that seals first. An id tells
// nothing of its key.
func (r *Keyring) KeyIDs() []string {
	ids := make([]string, 0, len(r.keys))
	for _, key := range r.keys {
		ids = append(ids, hex.EncodeToString(key.id[:]))
	}
	return ids
}

// firstID returns the id of the key that seals, in hex.
func (r *Keyring) firstID() string { return hex.EncodeToString(r.keys[0].id[:]) }

// sealedWith returns the id of the key that sealed data names, in hex.
func sealedWith(sealed []byte) string {
	if len(sealed) < 1+keyIDSize {
		return ""
	}
	return hex.EncodeToString(sealed[1 : 1+keyIDSize])
}

// associated binds the header, key id included, and the purpose to the text.
func associated(sealed []byte, purpose string) []byte {
	return append(append([]byte{}, sealed[:1+keyIDSize]...), purpose...)
}
