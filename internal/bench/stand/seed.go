//go:build linux

package stand

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// ClientID is the client whose connections are seeded.
const ClientID = "bench"

// Seeder puts connections into Redis as if they had been authorised. It writes
// what a store writes, without asking for each, so that a million take a minute.
// That the proxy can open them is seen by its serving them.
type Seeder struct {
	Redis  *redis.Client
	Issuer string
	Key    string // base64
	// Run is the run of the Redis server, as [redisstore] tells it.
	Run string
	// Life is what is left of the access tokens' lives.
	Life time.Duration
	// Due is when the sweep is to look at them.
	Due time.Time
	// Tokens also leaves the tokens where the contenders look that ask Redis for
	// each call.
	Tokens bool
}

// Name returns the name of the n-th connection.
func Name(n int) string { return "customer-" + strconv.Itoa(n) }

// batch is how many connections go into one pipeline.
const batch = 500

// SeedDefault writes the connection of calls that name none.
func (s *Seeder) SeedDefault(ctx context.Context) error {
	return s.seed(ctx, 0, 1, func(int) string { return pleoauth.DefaultConnection })
}

// Seed writes the connections from (inclusive) to to (exclusive).
func (s *Seeder) Seed(ctx context.Context, from, to int) error { return s.seed(ctx, from, to, Name) }

func (s *Seeder) seed(ctx context.Context, from, to int, name func(int) string) error {
	key, err := base64.StdEncoding.DecodeString(s.Key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(append([]byte("pleo-auth-proxy key id\x00"), key...))
	now, err := s.Redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	for first := from; first < to; first += batch {
		_, err := s.Redis.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n := first; n < min(first+batch, to); n++ {
				if err := s.put(ctx, p, name(n), n, now, key, sum[:4]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("seeding connections: %w", err)
		}
	}
	return nil
}

func (s *Seeder) put(ctx context.Context, p redis.Pipeliner, name string, n int, now time.Time, key, keyID []byte) error {
	access := Token("a", n, AccessTokenSize)
	plain, err := json.Marshal(map[string]string{"access_token": access, "refresh_token": Token("r", n, RefreshTokenSize)})
	if err != nil {
		return err
	}
	sealed, err := seal(plain, "grant\x00"+s.Issuer+"\x00"+ClientID+"\x00"+name, key, keyID)
	if err != nil {
		return err
	}
	record := pleoauth.Record{
		Issuer: s.Issuer, ClientID: ClientID, Seq: 1, Generation: 1,
		Lineage: random(), Version: random(), State: pleoauth.StateConnected, Sealed: sealed,
		Subject: "urn:pleo:company:00000000-0000-0000-0000-" + fmt.Sprintf("%012d", n),
		// As if it had been issued just now, to live for as long as is left.
		Obtained: now, Expires: now.Add(s.Life), Epoch: s.Run, Due: s.Due,
	}
	shard := sha256.Sum256([]byte(s.Issuer + "\x00" + ClientID + "\x00" + name))[0]
	identity := sha256.Sum256([]byte(s.Issuer + "\x00" + ClientID))
	prefix := fmt.Sprintf("pleo:{%02x}:%s:", shard, hex.EncodeToString(identity[:4]))
	fields := []any{"rev", random()}
	for field, value := range pleoauth.EncodeRecord(record) {
		fields = append(fields, field, value)
	}
	p.HSet(ctx, prefix+"record:"+name, fields...)
	p.ZAdd(ctx, prefix+"names", redis.Z{Member: name})
	p.ZAdd(ctx, prefix+"index", redis.Z{Score: float64(s.Due.UnixMilli()), Member: name})
	if s.Tokens {
		p.Set(ctx, tokenKeyOf(name), access, 0)
	}
	return nil
}

// seal seals as [pleoauth.Keyring] does: a format, the key's id, a nonce, and
// the rest by XChaCha20-Poly1305, bound to what is before the nonce and to the
// purpose.
func seal(plain []byte, purpose string, key, keyID []byte) ([]byte, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, err
	}
	header := append([]byte{1}, keyID...)
	nonce := make([]byte, chacha20poly1305.NonceSizeX)
	_, _ = rand.Read(nonce)
	associated := append(append([]byte{}, header...), purpose...)
	return aead.Seal(append(header, nonce...), nonce, plain, associated), nil
}

func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
