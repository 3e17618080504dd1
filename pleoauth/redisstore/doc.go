// Package redisstore keeps Pleo connections in Redis, for any number of
// replicas: a single server, one behind Sentinel, or a Cluster, from Redis 6.2.
//
// A record is a hash without a time to live; lock, due index and list of names
// are beside it in the same Cluster slot, and Lua scripts read and swap them in
// one step, on the master, together with the run of the server that did it: its
// run id and its replication id. A server that comes back with another run id,
// or was promoted and so has another replication id, may have forgotten what
// had been answered, and so no swap on what was read before succeeds. (A master
// also takes another replication id with its first replica, and an hour after
// its last one: that costs one needless look at each record.)
//
// Redis must keep what it is given: appendonly on, and maxmemory-policy
// noeviction. A server with replicas must stop taking writes without them:
// min-replicas-to-write 1, and min-replicas-max-lag shorter than a mark stands.
package redisstore

// LeastACL are the rules of a Redis user that may do what this package does
// with the default key prefix, and nothing else:
//
//	ACL SETUSER pleo on >password <LeastACL>
//
// The user default may be off, but has to keep its rights: Redis replays its
// append-only file as that user, and without them loses what scripts wrote.
//
//	ACL SETUSER default off allkeys allchannels allcommands
//
// A database other than 0 also needs +select, a Cluster also
// [LeastClusterACL].
const LeastACL = "resetkeys ~pleo:* resetchannels &pleo:* -@all" +
	" +ping +info +time +eval +evalsha" + // every exchange
	" +hgetall +hget +hset +exists +del +zadd +zrem +zrangebylex +zrangebyscore +wait" + // records, index, names
	" +msetnx +mset +pexpire +getrange +mget +get" + // locks
	" +set +getdel" + // flows
	" +publish +subscribe +unsubscribe" // notices

// LeastClusterACL is what a Cluster needs beyond [LeastACL].
const LeastClusterACL = "+cluster|slots"

// LeastSentinelACL are the rules of a user at the Sentinels, who may find out
// which server is the master and hear when another one is.
const LeastSentinelACL = "resetchannels &+switch-master &+replica-reconf-done -@all" +
	" +ping +subscribe +sentinel|get-master-addr-by-name +sentinel|sentinels"
