package caddymodule

import (
	"bytes"
	"io"
	"log"
	"sync"
)

// What net/http logs about bytes that come from a server on a connection that
// has no call: it quotes them, and they may be the rest of an answer, with a
// customer's data or a token in it.
var unsolicited, quoting = []byte("Unsolicited response received on idle HTTP channel"), []byte(" starting with ")

// quietLog takes such bytes out of lines of the standard library's logger.
type quietLog struct{ io.Writer }

func (q quietLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, unsolicited) {
		if said, _, found := bytes.Cut(line, quoting); found {
			_, err := q.Writer.Write(append(bytes.Clone(said), '\n'))
			return len(line), err
		}
	}
	return q.Writer.Write(line)
}

var quieting sync.Mutex

// quietStandardLog puts a quietLog in front of the standard library's logger,
// which has no other place for that. Caddy directs it elsewhere with each
// configuration, before it provisions the apps in it.
func quietStandardLog() {
	quieting.Lock()
	defer quieting.Unlock()
	if _, ok := log.Writer().(quietLog); !ok {
		log.SetOutput(quietLog{log.Writer()})
	}
}
