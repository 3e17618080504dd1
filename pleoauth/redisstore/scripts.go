package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

//go:embed scripts/read.lua
var readSource string

//go:embed scripts/swap.lua
var swapSource string

//go:embed scripts/claim.lua
var claimSource string

//go:embed scripts/finish.lua
var finishSource string

var (
	readScript   = redis.NewScript(readSource)
	swapScript   = redis.NewScript(swapSource)
	claimScript  = redis.NewScript(claimSource)
	finishScript = redis.NewScript(finishSource)
)
