// Package page makes the pages of the benchmarks of what was measured, so that no
// figure in them is typed.
package page

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// The contenders.
const (
	Direct     = "upstream, direct"
	Caddy      = "Caddy, constant header"
	OursOne    = "pleo_proxy, 1 connection"
	OursMany   = "pleo_proxy, %d connections, uniform"
	OursZipf   = "pleo_proxy, %d connections, Zipf"
	Nginx      = "nginx, Lua, Redis per call"
	RedisProxy = "Go proxy, Redis per call"
)

// Results are what one run has measured.
type Results struct {
	// When is the day of the run, Took how long it was, Short is set for one that
	// only shows that everything works.
	When  string        `json:"when"`
	Took  time.Duration `json:"took"`
	Short bool          `json:"short,omitempty"`
	// Machine says what it ran on.
	Machine Machine `json:"machine"`
	// Problems are what could not be measured, and why.
	Problems []string `json:"problems,omitempty"`

	Calls   *Calls    `json:"calls,omitempty"`
	Memory  *Memory   `json:"memory,omitempty"`
	Refresh *Refresh  `json:"refresh,omitempty"`
	Growth  *Growth   `json:"growth,omitempty"`
	Events  *Events   `json:"events,omitempty"`
	HotPath []HotPath `json:"hot_path,omitempty"`
}

// Machine is what a run ran on.
type Machine struct {
	Processor string            `json:"processor"`
	Cores     int               `json:"cores"`
	Kernel    string            `json:"kernel"`
	Versions  map[string]string `json:"versions"`
	// LoadBefore is how busy it was before the run.
	LoadBefore float64 `json:"load_before"`
}

// Calls are the contenders side by side.
type Calls struct {
	Rounds int `json:"rounds"`
	// Connections is how many there are where there are many.
	Connections int `json:"connections"`
	// Slot is how long a contender is measured in a round.
	Slot time.Duration `json:"slot"`
	Rows []Row         `json:"rows"`
	// Contenders are in their order in tables.
	Contenders []string `json:"contenders"`
	// Processes are what they held in the end.
	Processes map[string]Process `json:"processes"`
	// RedisCommandsPerCall is what a call of one of many connections cost.
	RedisCommandsPerCall float64 `json:"redis_commands_per_call"`
	CallsCounted         int     `json:"calls_counted"`
	// Allocated is what a call of each contender made in Go allocates.
	Allocated map[string]Allocated `json:"allocated"`
}

// Row is one kind of load.
type Row struct {
	Name        string  `json:"name"`
	Concurrency int     `json:"concurrency,omitempty"`
	Rate        float64 `json:"rate,omitempty"` // of an open loop, per second
	// Samples are those of each contender, a round each.
	Samples map[string][]Sample `json:"samples"`
}

// Sample is what a contender did in one round.
type Sample struct {
	Round    int     `json:"round"`
	RPS      float64 `json:"rps"`
	P50      float64 `json:"p50_us"`
	P99      float64 `json:"p99_us"`
	CPU      float64 `json:"cpu_s_per_10k"`
	RedisCPU float64 `json:"redis_cpu_s_per_10k,omitempty"`
	Failed   int     `json:"failed,omitempty"`
}

// Allocated is what a call allocates.
type Allocated struct {
	Objects float64 `json:"objects"`
	Bytes   float64 `json:"bytes"`
}

// Process is what a contender's processes held in the end, in bytes.
type Process struct {
	RSS  int64   `json:"rss"`
	Heap float64 `json:"heap,omitempty"`
}

// Memory is what the proxy holds beyond Caddy, in bytes.
type Memory struct {
	// IdleCaddy and IdlePleo are heaps in use after a collection, a start each;
	// LivePleo and LiveCaddy the objects in them.
	IdleCaddy []float64 `json:"idle_caddy"`
	IdlePleo  []float64 `json:"idle_pleo"`
	LiveCaddy []float64 `json:"live_caddy"`
	LivePleo  []float64 `json:"live_pleo"`
	// StreamCaddy and StreamPleo are how much the resident memory grew at most
	// while streams of 50 MB passed, a round each.
	StreamCaddy []float64 `json:"stream_caddy"`
	StreamPleo  []float64 `json:"stream_pleo"`
	// PerConnection is what each connection in use holds, its tokens included;
	// TokenBytes how long those are; Counted how many connections there were.
	PerConnection float64 `json:"per_connection"`
	TokenBytes    int     `json:"token_bytes"`
	Counted       int     `json:"counted"`
	// RedisPerConnection is what Redis holds of one.
	RedisPerConnection float64 `json:"redis_per_connection"`
	// RedisPerSubscription is what it holds of each replica's subscription to one.
	RedisPerSubscription float64 `json:"redis_per_subscription"`
}

// Refresh is what callers and replicas see of refreshes.
type Refresh struct {
	Replicas int `json:"replicas"`
	// Served is how long other, idle replicas took to serve what one had stored, in
	// milliseconds, sorted.
	Served []float64 `json:"served_ms"`
	// Crowds are callers at once on an expired token.
	Crowds []Crowd `json:"crowds"`
}

// Crowd is one crowd of callers, in milliseconds.
type Crowd struct {
	Callers   int     `json:"callers"`
	Refreshes int     `json:"refreshes"`
	Failed    int     `json:"failed"`
	Refresh   float64 `json:"refresh_ms"`
	Valid     float64 `json:"valid_ms"`   // its slowest caller with a valid token
	Slowest   float64 `json:"slowest_ms"` // and with an expired one
	Median    float64 `json:"median_ms"`
}

// Growth is what more connections in Redis cost.
type Growth struct {
	Rows []GrowthRow `json:"rows"`
}

// GrowthRow is a size of the store.
type GrowthRow struct {
	Connections int `json:"connections"`
	// Start is from the process's start until it is ready, in milliseconds, a start
	// each.
	Start []float64 `json:"start_ms"`
	// RSS and Heap are the proxy's after that, in bytes.
	RSS  int64   `json:"rss"`
	Heap float64 `json:"heap"`
	// SweepIdle is how long a sweep takes that finds nothing due, SweepDue one that
	// finds all due, in milliseconds.
	SweepIdle []float64 `json:"sweep_idle_ms"`
	SweepDue  []float64 `json:"sweep_due_ms"`
	// SweepCommands is how many commands one of them sends.
	SweepCommands float64 `json:"sweep_commands"`
	// RedisMemory is what Redis holds in all.
	RedisMemory int64 `json:"redis_memory"`
}

// Events are what replicas tell each other.
type Events struct {
	Rows []EventsRow `json:"rows"`
}

// EventsRow is what refreshing each of Connections once, with Replicas that use
// them, has come to.
type EventsRow struct {
	Replicas    int `json:"replicas"`
	Connections int `json:"connections"`
	// Notices is how many each replica was sent, Commands how many Redis was, by
	// name, scripts' own included.
	Notices  float64            `json:"notices_per_replica"`
	Commands map[string]float64 `json:"commands"`
	// RedisCPU is what Redis has used, in seconds.
	RedisCPU float64 `json:"redis_cpu_s"`
}

// HotPath is a Go benchmark.
type HotPath struct {
	Name        string  `json:"name"`
	Nanoseconds float64 `json:"ns_per_op"`
	// CPU is the processor time, where the benchmark tells it.
	CPU         float64 `json:"cpu_ns_per_op,omitempty"`
	Bytes       float64 `json:"bytes_per_op"`
	Allocations float64 `json:"allocations_per_op"`
}

// Read reads the results in a file.
func Read(file string) (*Results, error) {
	text, err := os.ReadFile(file) //nolint:gosec // the caller's choice
	if err != nil {
		return nil, fmt.Errorf("run make bench: %w", err)
	}
	r := new(Results)
	return r, json.Unmarshal(text, r)
}

// Write writes them.
func (r *Results) Write(file string) error {
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644) //nolint:gosec // it is documentation
}
