package redisstore

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redis/go-redis/v9"
)

// driverLogOnce lets the first of SetDriverLog and New decide.
var driverLogOnce sync.Once

// SetDriverLog sends what go-redis has to say on its own to logger, on level
// debug; nil drops it. go-redis has one logger for the whole process and
// writes to standard error by default, so [New] drops its messages unless this
// was called before: each error reaches the caller of a command anyhow. A
// program that uses go-redis itself can call redis.SetLogger after New.
func SetDriverLog(logger *slog.Logger) {
	driverLogOnce.Do(func() {})
	redis.SetLogger(driverLog{logger})
}

func silenceDriver() {
	driverLogOnce.Do(func() { redis.SetLogger(driverLog{}) })
}

// driverLog passes go-redis's messages on. They name addresses and errors,
// never credentials or values.
type driverLog struct{ logger *slog.Logger }

// Printf implements the logger that go-redis asks for.
func (l driverLog) Printf(ctx context.Context, format string, v ...any) {
	if l.logger != nil {
		l.logger.DebugContext(ctx, "go-redis: "+fmt.Sprintf(format, v...))
	}
}
