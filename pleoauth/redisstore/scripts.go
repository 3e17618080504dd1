package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/read.lua
var readSource string

//go:embed scripts/swap.lua
var swapSource string

var (
	readScript = redis.NewScript(readSource)
	swapScript = redis.NewScript(swapSource)
)
