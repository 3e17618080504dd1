package pleoauth

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// unopenedFor is how long a grant that could not be opened is told of: the
	// sweep comes by once an hour.
	unopenedFor = 2 * time.Hour
	// manyUnopened bounds how many are remembered.
	manyUnopened = 10_000
)

// unopened are the connections whose grants could not be opened lately, for
// [Source.Health]: with a key missing, every replica is quietly of no use.
type unopened struct {
	mu   sync.Mutex
	seen map[string]notOpened
}

type notOpened struct {
	why  *SealedError
	when time.Time
}

// note takes in what came of opening a connection's grant.
func (u *unopened) note(name string, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if err == nil {
		delete(u.seen, name)
		return
	}
	why := new(SealedError)
	if !errors.As(err, &why) || len(u.seen) >= manyUnopened {
		return
	}
	if u.seen == nil {
		u.seen = map[string]notOpened{}
	}
	u.seen[name] = notOpened{why, time.Now()}
}

// forget begins anew, with other keys.
func (u *unopened) forget() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.seen = nil
}

// reason is a line for health, "" if all is well. It names keys, no connections.
func (u *unopened) reason() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.seen, func(_ string, n notOpened) bool { return time.Since(n.when) > unopenedFor })
	if len(u.seen) == 0 {
		return ""
	}
	missing := map[string]bool{}
	for _, n := range u.seen {
		if n.why.Missing {
			missing[n.why.KeyID] = true
		}
	}
	text := fmt.Sprintf("grants that cannot be opened, and are kept as they are: %d", len(u.seen))
	if len(missing) > 0 {
		ids := slices.Sorted(maps.Keys(missing))
		text += "; no encryption_key is configured with the id " + strings.Join(ids[:min(len(ids), 5)], ", ")
	}
	return text
}
