package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"time"
)

// Defaults of [Options].
const (
	DefaultKeyPrefix      = "pleo:"
	DefaultCommandTimeout = time.Second
	DefaultPingInterval   = 5 * time.Second
)

// ErrOptions is returned when [Options] or a URL cannot work. Its text never
// repeats a password.
var ErrOptions = errors.New("redis options")

// Options say which Redis to use, and how. [ParseURL] makes them from a URL.
// They never print their passwords.
type Options struct {
	// Addresses are the host:port of the server, of the Sentinels, or of some
	// nodes of the Cluster; a path that starts with / is a unix socket.
	// Required; exactly one without MasterName and Cluster.
	Addresses []string
	// Username and Password are those of the ACL user. Empty: none.
	Username, Password string
	// DB is the number of the database. Default: 0. A Cluster has no other.
	DB int
	// TLS is the configuration of TLS connections; nil: plain ones.
	TLS *tls.Config

	// MasterName is the name of the master that the Sentinels watch. Empty:
	// Addresses are not Sentinels.
	MasterName string
	// SentinelUsername and SentinelPassword are for the Sentinels themselves.
	SentinelUsername, SentinelPassword string
	// Cluster says that Addresses are nodes of a Redis Cluster.
	Cluster bool

	// WaitReplicas is how many replicas have to confirm a swap that waits for
	// them, see [pleoauth.SwapOptions]. 0: it never waits. Default: nil, one
	// where the master has replicas that are in step.
	WaitReplicas *int

	// KeyPrefix begins every key and channel. Default: "pleo:". It must not
	// contain braces: they would move keys to other Cluster slots.
	KeyPrefix string
	// CommandTimeout bounds every exchange with the server, connecting
	// included, whatever the context allows. Default: 1s.
	CommandTimeout time.Duration
	// PingInterval is how often the subscription is tested; it counts as lost
	// after twice that in silence. Default: 5s.
	PingInterval time.Duration
	// PoolSize is the greatest number of connections to each server. A swap
	// that waits for replicas keeps one for as long. Default: ten for each
	// processor, and 50 at least.
	PoolSize int
}

// withDefaults returns the options with what is empty filled in.
func (o Options) withDefaults() Options {
	if o.KeyPrefix == "" {
		o.KeyPrefix = DefaultKeyPrefix
	}
	if o.CommandTimeout == 0 {
		o.CommandTimeout = DefaultCommandTimeout
	}
	if o.PingInterval == 0 {
		o.PingInterval = DefaultPingInterval
	}
	if o.PoolSize == 0 {
		o.PoolSize = max(50, 10*runtime.GOMAXPROCS(0))
	}
	return o
}

// Validate returns an error that wraps [ErrOptions] and names the option, in
// the spelling of the Caddyfile, if the options cannot work.
func (o Options) Validate() error {
	o = o.withDefaults()
	switch {
	case len(o.Addresses) == 0:
		return fmt.Errorf("%w: address is missing", ErrOptions)
	case o.MasterName != "" && o.Cluster:
		return fmt.Errorf("%w: master_name and cluster exclude each other", ErrOptions)
	case len(o.Addresses) > 1 && o.MasterName == "" && !o.Cluster:
		return fmt.Errorf("%w: several addresses need master_name or cluster", ErrOptions)
	case o.DB < 0:
		return fmt.Errorf("%w: db is negative", ErrOptions)
	case o.Cluster && o.DB != 0:
		return fmt.Errorf("%w: a cluster has no db but 0", ErrOptions)
	case strings.ContainsAny(o.KeyPrefix, "{} \t\r\n"):
		return fmt.Errorf("%w: key_prefix must not contain braces or spaces", ErrOptions)
	case o.CommandTimeout < 0:
		return fmt.Errorf("%w: command_timeout is negative", ErrOptions)
	case o.PingInterval < 0:
		return fmt.Errorf("%w: ping_interval is negative", ErrOptions)
	case o.PoolSize < 0:
		return fmt.Errorf("%w: pool_size is negative", ErrOptions)
	case o.WaitReplicas != nil && *o.WaitReplicas < 0:
		return fmt.Errorf("%w: wait_replicas is negative", ErrOptions)
	case o.Username != "" && o.Password == "":
		return fmt.Errorf("%w: username without password", ErrOptions)
	}
	for _, address := range o.Addresses {
		if address == "" || strings.ContainsAny(address, "@ \t\r\n") {
			// What looks like user:password@host must not end up in a log.
			return fmt.Errorf("%w: an address is not of the form host:port", ErrOptions)
		}
	}
	return nil
}

// String returns the addresses, and whether there is a password, but not which.
func (o Options) String() string {
	secret := ""
	if o.Password != "" || o.SentinelPassword != "" {
		secret = " [with password]"
	}
	return fmt.Sprintf("redis %s/%d%s", strings.Join(o.Addresses, ","), o.DB, secret)
}

// GoString returns the same as String, for the verb %#v.
func (o Options) GoString() string { return o.String() }

// Format writes the same as String, whatever the verb.
func (o Options) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(o.String())) }

// LogValue returns the same as String, for log/slog.
func (o Options) LogValue() slog.Value { return slog.StringValue(o.String()) }

// Interface guards
var (
	_ fmt.Formatter  = Options{}
	_ fmt.GoStringer = Options{}
	_ fmt.Stringer   = Options{}
	_ slog.LogValuer = Options{}
)
