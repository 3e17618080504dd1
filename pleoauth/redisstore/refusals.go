package redisstore

import (
	"errors"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// refusals are the codes of the errors with which Redis 7 refuses a script
// before its first write. The code is an error's first word.
var refusals = []string{
	// Instead of the script: it is not begun.
	"ASK", "BUSY", "CLUSTERDOWN", "DENIED", "LOADING", "MASTERDOWN", "MOVED", "NOAUTH", "TRYAGAIN", "WRONGPASS",
	// Instead of a script's write, if nothing was written yet. They are about the
	// whole server, and Redis does not look again after the first write.
	"MISCONF", "NOREPLICAS", "READONLY",
}

// refusalTexts are the beginnings of errors whose code says too little.
var refusalTexts = []string{
	"ERR max number of clients",           // instead of all commands of a connection
	"ERR Protocol error: unauthenticated", // instead of a long command before a login
	"OOM command not allowed",             // as MISCONF; other kinds of server run out of memory later, too
}

// refusedUnwritten reports whether err is an answer of Redis which proves that a
// script has written nothing. NOPERM and WRONGTYPE are about one command or key
// each, and may come at a script's second write: they prove nothing, unless the command
// is the script's own.
func refusedUnwritten(err error) bool {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok {
		return false
	}
	text := answer.Error()
	code, _, _ := strings.Cut(text, " ")
	return slices.Contains(refusals, code) || code == "NOPERM" && strings.Contains(text, " the 'eval") ||
		slices.ContainsFunc(refusalTexts, func(begin string) bool { return strings.HasPrefix(text, begin) })
}
