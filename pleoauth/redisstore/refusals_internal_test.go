package redisstore

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// serverError is an answer of Redis.
type serverError string

func (e serverError) Error() string { return string(e) }
func (serverError) RedisError()     {}

var _ redis.Error = serverError("")

// Those that a test can bring about are in notwritten_test.go.
func TestAnswersThatProveNothingAreToldFromThoseThatDo(t *testing.T) {
	for text, proves := range map[string]bool{
		"LOADING Redis is loading the dataset in memory":                    true,
		"OOM command not allowed when used memory > 'maxmemory'.":           true,
		"NOAUTH Authentication required.":                                   true,
		"DENIED Redis is running in protected mode":                         true,
		"ERR max number of clients reached":                                 true,
		"ASK 1 127.0.0.1:1":                                                 true,
		"MOVED 1 127.0.0.1:1":                                               true,
		"OOM out of memory":                                                 false,
		"NOPERM this user has no permissions to run the 'zadd' command":     false,
		"NOPERM User a has no permissions to run the 'evalsha' command":     true,
		"WRONGTYPE Operation against a key holding the wrong kind of value": false,
		"BUSYKEY Target key name already exists.":                           false,
		"UNKILLABLE Sorry the script already executed write commands":       false,
		"ERR Error running script (call to f_1): @user_script:34: @user_script: 34: -READONLY You can't write": false,
		"ERR READONLY": false,
		"":             false,
	} {
		require.Equal(t, proves, refusedUnwritten(fmt.Errorf("wrapped: %w", serverError(text))), text)
		require.False(t, refusedUnwritten(errors.New(text)), "it is no answer of the server")
	}
	require.False(t, refusedUnwritten(io.EOF))
}

// What a server refuses for good is told from what may be answered later.
func TestAServerThatRefusesInfoForGoodIsToldFromOneThatIsAway(t *testing.T) {
	for text, refused := range map[string]bool{
		"NOPERM User pleo has no permissions to run the 'info' command":    true,
		"ERR unknown command 'info', with args beginning with: ":           true,
		"LOADING Redis is loading the dataset in memory":                   false,
		"NOAUTH Authentication required.":                                  false,
		"MASTERDOWN Link with MASTER is down and replica-serve-stale-data": false,
	} {
		require.Equal(t, refused, infoRefused(fmt.Errorf("wrapped: %w", serverError(text))) != "", text)
	}
	require.Empty(t, infoRefused(io.EOF))
	require.Empty(t, infoRefused(nil))
}
