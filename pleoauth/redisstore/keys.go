package redisstore

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// shards is how many parts the connections are spread over. All keys of one
// part carry the same hash tag, so that a script can change a connection's
// record, lock and index together in a Cluster too.
const shards = 256

// keys names the keys and channels of one identity:
//
//	<prefix>{<shard>}:<identity>:record:<connection>   hash, no TTL
//	<prefix>{<shard>}:<identity>:lock:<connection>     string, TTL
//	<prefix>{<shard>}:<identity>:next:<connection>     string, TTL
//	<prefix>{<shard>}:<identity>:index                 sorted set: due in ms, connection
//	<prefix>{<shard>}:<identity>:names                 sorted set: 0, connection
//	<prefix>{<shard>}:<identity>:flow:<id>             string, TTL
//	<prefix>{<shard>}:<identity>:notice:<connection>   channel
//	<prefix>{<shard>}:<identity>:changes               sorted set: due in ms, connection
//	<prefix>{<shard>}:<identity>:change:<connection>   hash, no TTL
type keys struct {
	prefix string
	id     pleoauth.Identity
	// hash keeps apart identities that share a server.
	hash string
}

func newKeys(prefix string, id pleoauth.Identity) keys {
	sum := digest(id.Issuer, id.ClientID)
	return keys{prefix: prefix, id: id, hash: hex.EncodeToString(sum[:4])}
}

// digest joins with NUL, which is in none of the parts, so that no two lists
// of parts give the same text.
func digest(parts ...string) [sha256.Size]byte {
	var joined []byte
	for i, part := range parts {
		if i > 0 {
			joined = append(joined, 0)
		}
		joined = append(joined, part...)
	}
	return sha256.Sum256(joined)
}

func (k keys) shard(name string) int { return int(digest(k.id.Issuer, k.id.ClientID, name)[0]) }

// shardTag is two hex digits.
func shardTag(shard int) string { return fmt.Sprintf("%02x", shard) }

func (k keys) of(shard int, rest string) string {
	return k.prefix + "{" + shardTag(shard) + "}:" + k.hash + ":" + rest
}

func (k keys) record(name string) string { return k.of(k.shard(name), "record:"+name) }
func (k keys) lock(name string) string   { return k.of(k.shard(name), "lock:"+name) }
func (k keys) next(name string) string   { return k.of(k.shard(name), "next:"+name) }
func (k keys) notice(name string) string { return k.of(k.shard(name), "notice:"+name) }
func (k keys) flow(id string) string     { return k.of(k.shard(id), "flow:"+id) }
func (k keys) index(shard int) string    { return k.of(shard, "index") }
func (k keys) names(shard int) string    { return k.of(shard, "names") }
func (k keys) changes(shard int) string  { return k.of(shard, "changes") }
func (k keys) change(name string) string { return k.of(k.shard(name), "change:"+name) }

// swap returns the keys of swap.lua.
func (k keys) swap(name string) []string {
	shard := k.shard(name)
	return []string{k.record(name), k.lock(name), k.index(shard), k.names(shard), k.changes(shard), k.change(name)}
}
