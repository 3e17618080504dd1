package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// CheckDurability asks the master how it is set up, of a Cluster every master.
// See [pleoauth.DurabilityChecker]. What CONFIG GET would tell is looked at only
// where the user may use it: it also shows passwords, so [LeastACL] lacks it.
// Without it, min-replicas-max-lag is taken for Redis's default of 10 s.
func (s *Store) CheckDurability(ctx context.Context, markLife time.Duration) ([]pleoauth.DurabilityRisk, error) {
	if s.client.cluster == nil {
		server := s.options.MasterName
		if server == "" {
			server = s.options.Addresses[0]
		}
		return s.checkServer(ctx, s.client.single, server, markLife)
	}
	var mu sync.Mutex
	var all []pleoauth.DurabilityRisk
	var errs []error
	err := s.client.cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
		risks, err := s.checkServer(ctx, node, node.Options().Addr, markLife)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, risks...)
		errs = append(errs, err)
		return nil // the others are asked all the same
	})
	return all, errors.Join(append(errs, err)...)
}

// checkServer asks one master.
func (s *Store) checkServer(ctx context.Context, node *redis.Client, name string, markLife time.Duration) ([]pleoauth.DurabilityRisk, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	text, err := once(ctx, node, []any{"info"}).Text()
	if refusal := infoRefused(err); refusal != "" {
		return []pleoauth.DurabilityRisk{{
			Code: pleoauth.RiskPersistence, Server: name,
			Text: "whether Redis keeps grants cannot be seen, since it refuses INFO: " + refusal,
		}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("redis: durability: %w", err)
	}
	c := durabilityCheck{info: parseInfo(text)}
	if c.info["loading"] == "1" || c.info["async_loading"] == "1" { // it tells nothing of its settings yet
		return nil, fmt.Errorf("redis: durability: %s is loading its data", name)
	}
	c.config = func(option string) (string, bool) { return s.configOption(ctx, node, option) }
	c.eviction()
	c.persistence()
	inStep := strings.Count(text, "state=online")
	c.replay()
	if s.options.WaitReplicas != nil {
		c.replicas(*s.options.WaitReplicas, inStep)
	}
	if s.expectsReplicas(node.Options().Addr, inStep > 0 || c.info["repl_backlog_active"] == "1") {
		c.split(markLife)
	}
	for i := range c.risks {
		c.risks[i].Server = name
	}
	return c.risks, nil
}

// infoRefused returns why a server refuses INFO for good: to this user, or to all. It is
// "" for every other error: that server may answer later.
func infoRefused(err error) string {
	answer, ok := errors.AsType[redis.Error](err)
	if !ok {
		return ""
	}
	text := answer.Error()
	if strings.HasPrefix(text, "NOPERM ") || strings.HasPrefix(text, "ERR unknown command") {
		return text
	}
	return ""
}

// configOption returns what CONFIG GET tells of an option, or false. A server
// that refuses is not asked again: each refusal is a line in its ACL log.
func (s *Store) configOption(ctx context.Context, node *redis.Client, option string) (string, bool) {
	if s.configRefused.Load() {
		return "", false
	}
	answer, err := once(ctx, node, []any{"config", "get", option}).StringSlice()
	if _, refused := errors.AsType[redis.Error](err); refused {
		s.configRefused.Store(true)
	}
	if err != nil || len(answer) != 2 {
		return "", false
	}
	return answer[1], true
}

// durabilityCheck judges one server.
type durabilityCheck struct {
	info   map[string]string
	config func(option string) (value string, seen bool)
	risks  []pleoauth.DurabilityRisk
}

func (c *durabilityCheck) add(code, text string) {
	c.risks = append(c.risks, pleoauth.DurabilityRisk{Code: code, Text: text})
}

func (c *durabilityCheck) eviction() {
	const remedy = "; set maxmemory-policy noeviction"
	policy := c.info["maxmemory_policy"]
	switch {
	case policy == "noeviction":
	case policy == "":
		c.add(pleoauth.RiskEviction, "Redis does not tell its maxmemory-policy; make sure that it is noeviction")
	case strings.HasPrefix(policy, "volatile-"):
		// No key with a grant has a time to live.
		c.add(pleoauth.RiskEviction, "maxmemory-policy is "+policy+": Redis drops locks, and authorisations that are under way, when its memory is full"+remedy)
	case c.info["maxmemory"] == "0":
		c.add(pleoauth.RiskEviction, "maxmemory-policy is "+policy+": Redis drops grants as soon as maxmemory is set and its memory is full"+remedy)
	default:
		c.add(pleoauth.RiskEviction, "maxmemory-policy is "+policy+": Redis drops grants when its memory is full"+remedy)
	}
}

func (c *durabilityCheck) persistence() {
	switch c.info["aof_enabled"] {
	case "1":
		c.appendOnlyFile()
	case "0":
		c.snapshots()
	default:
		c.add(pleoauth.RiskPersistence, "Redis does not tell whether it keeps its data on disk; make sure that appendonly is yes")
	}
}

func (c *durabilityCheck) appendOnlyFile() {
	if c.info["aof_last_write_status"] == "err" {
		c.add(pleoauth.RiskPersistence, "Redis could not write to its append-only file; look at its log and its disk")
	}
	if fsync, _ := c.config("appendfsync"); fsync == "no" {
		c.add(pleoauth.RiskPersistence, "appendfsync is no: what Redis wrote last is lost if its machine fails; set appendfsync everysec or always")
	}
}

// replay looks for commands that Redis refused itself. The counter is that of
// errors that no client sees: Redis' answers to its append-only file, as it
// replays that at its start, and to its master. Without rights, the user default
// is refused each transaction in the file.
func (c *durabilityCheck) replay() {
	if refused := c.info["unexpected_error_replies"]; refused != "" && refused != "0" {
		c.add(pleoauth.RiskPersistence, "Redis refused "+refused+" commands of its own append-only file, or of its master, and lacks what they wrote; give its user default all rights, and restart it before it rewrites that file")
	}
}

func (c *durabilityCheck) snapshots() {
	points, seen := c.config("save")
	switch {
	case !seen:
		c.add(pleoauth.RiskPersistence, "appendonly is no, and whether Redis makes snapshots could not be seen (the user may not CONFIG GET); set appendonly yes")
	case points == "":
		c.add(pleoauth.RiskPersistence, "Redis keeps nothing on disk, so that a restart loses every grant; set appendonly yes")
	case c.info["rdb_last_bgsave_status"] == "err":
		c.add(pleoauth.RiskPersistence, "Redis could not write its last snapshot; look at its log and its disk, and set appendonly yes")
	}
}

func (c *durabilityCheck) replicas(wanted, inStep int) {
	if inStep < wanted {
		c.add(pleoauth.RiskReplicas, fmt.Sprintf("Redis has %d replicas in step, and wait_replicas is %d: nothing is refreshed; bring replicas back or lower wait_replicas", inStep, wanted))
	}
}

// defaultMaxLag is Redis's own default of min-replicas-max-lag, in seconds.
const defaultMaxLag = 10

// split judges a server whose place another may take. When the network splits, it
// has to stop taking writes before a mark on the other side is over.
func (c *durabilityCheck) split(markLife time.Duration) {
	const danger = "when the network splits, this server and the one that takes its place both take writes, and a refresh on the side that loses costs the grant"
	longest := int(math.Ceil(markLife.Seconds())) - 1 // the greatest number of seconds below it
	remedy := fmt.Sprintf("; set min-replicas-to-write 1 and min-replicas-max-lag %d", min(defaultMaxLag, longest))
	_, limited := c.info["min_slaves_good_slaves"] // there only where both options are set
	switch version, _, _ := strings.Cut(c.info["redis_version"], "."); {
	case c.info["role"] == "":
		c.add(pleoauth.RiskSplit, "Redis does not tell whether it stops taking writes without its replicas: if not, "+danger+remedy)
		return
	case version == "6":
		c.add(pleoauth.RiskSplit, "Redis 6 heeds min-replicas-to-write in no script: "+danger+"; use Redis 7 or later"+strings.Replace(remedy, "; set", ", and set", 1))
		return
	case !limited:
		c.add(pleoauth.RiskSplit, "min-replicas-to-write is 0, or min-replicas-max-lag is: "+danger+remedy)
		return
	}
	value, seen := c.config("min-replicas-max-lag")
	lag, err := strconv.Atoi(value)
	switch {
	case !seen || err != nil:
		if longest < defaultMaxLag {
			c.add(pleoauth.RiskSplit, fmt.Sprintf("whether min-replicas-max-lag is %d at the most could not be seen (the user may not CONFIG GET): if not, ", longest)+danger+remedy)
		}
	case lag > longest:
		c.add(pleoauth.RiskSplit, fmt.Sprintf("min-replicas-max-lag is %d, not less than a refresh is waited for (%s): ", lag, markLife)+danger+remedy)
	}
}

var infoLine = regexp.MustCompile(`(?m)^(\w+):([^\r\n]*)`)

// parseInfo reads the answer of INFO.
func parseInfo(text string) map[string]string {
	fields := make(map[string]string)
	for _, m := range infoLine.FindAllStringSubmatch(text, -1) {
		fields[m[1]] = m[2]
	}
	return fields
}
