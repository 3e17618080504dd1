package page

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const (
	// refreshEvery is how often a token in use is refreshed, in seconds: tokens live
	// for 15 minutes and are refreshed a minute before.
	refreshEvery = 14 * 60
	// redisShare is how much of a core Redis may be busy for: beyond it, answers wait.
	redisShare = 0.6
)

// scalingTable returns the table of a place in the page on growth.
func scalingTable(name string, r *Results) string {
	switch {
	case name == "growth" && r.Growth != nil:
		return growthTable(r.Growth)
	case name == "events" && r.Events != nil:
		return eventsTable(r.Events)
	case name == "memory" && r.Memory != nil:
		return memoryGrowth(r.Memory)
	case name == "extrapolation" && r.Events != nil && r.Memory != nil:
		return extrapolation(r.Events, r.Memory)
	}
	return "Not measured yet: run `make bench`.\n"
}

func growthTable(g *Growth) string {
	var b strings.Builder
	b.WriteString("| connections in Redis | start to ready, ms | heap in use, MB | a sweep that finds nothing due, ms | one that finds all due, ms | its commands | Redis's memory, MB |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- | --- |\n")
	for _, row := range g.Rows {
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s | %s |\n", row.Connections, middle(row.Start), number(row.Heap/1e6),
			middle(row.SweepIdle), middle(row.SweepDue), number(row.SweepCommands), number(float64(row.RedisMemory)/1e6))
	}
	return b.String()
}

// sent returns how many commands replicas send; the others are sent by scripts.
func (e EventsRow) sent() float64 { return e.Commands["evalsha"] + e.Commands["eval"] + e.refreshes() } // and the gate's notice

func (e EventsRow) refreshes() float64 { return float64(e.Connections) }

func eventsTable(e *Events) string {
	var b strings.Builder
	b.WriteString("| replicas that use it | connections refreshed | notices to each replica, per refresh | commands sent to Redis, per refresh | carried out, scripts' own included | Redis's processor time, µs per refresh |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- |\n")
	for _, row := range e.Rows {
		var all float64
		for _, name := range slices.Sorted(maps.Keys(row.Commands)) {
			all += row.Commands[name]
		}
		fmt.Fprintf(&b, "| %d | %d | %s | %s | %s | %s |\n", row.Replicas, row.Connections, number(row.Notices/row.refreshes()),
			number(row.sent()/row.refreshes()), number(all/row.refreshes()), number(row.RedisCPU/row.refreshes()*1e6))
	}
	notices, sent, cpu := e.slopes()
	fmt.Fprintf(&b, "\nA line through these: a refresh costs Redis %s commands and %s µs, and %s commands and %s µs more for each replica that uses the connection. Each of these replicas is sent %s notices and reads the record once.\n",
		number(sent[0]), number(cpu[0]*1e6), number(sent[1]), number(cpu[1]*1e6), number(notices))
	return b.String()
}

// slopes returns the notices to each replica, and commands and processor seconds as
// lines over replicas, all for each refresh.
func (e *Events) slopes() (notices float64, sent, cpu [2]float64) {
	var replicas, sents, cpus, told []float64
	for _, row := range e.Rows {
		replicas = append(replicas, float64(row.Replicas))
		sents = append(sents, row.sent()/row.refreshes())
		cpus = append(cpus, row.RedisCPU/row.refreshes())
		told = append(told, row.Notices/row.refreshes())
	}
	sent[0], sent[1] = slope(replicas, sents)
	cpu[0], cpu[1] = slope(replicas, cpus)
	return median(told), sent, cpu
}

func memoryGrowth(m *Memory) string {
	return fmt.Sprintf("| | bytes |\n| --- | --- |\n| a connection in use, in each replica that uses it, tokens included | %s |\n| its pair of tokens, as they were measured | %d |\n"+
		"| a connection that is not in use, in a replica | 0 |\n| a connection in Redis | %s |\n| each replica's subscription to one, in Redis | %s |\n",
		number(m.PerConnection), m.TokenBytes, number(m.RedisPerConnection), number(m.RedisPerSubscription))
}

func extrapolation(e *Events, m *Memory) string {
	var b strings.Builder
	notices, _, cpu := e.slopes()
	b.WriteString("| replicas, each of which uses every connection | connections in use, with Redis busy for 60 % of a core | refreshes a second | notices a second to each replica | a replica's memory for them, GB | Redis's memory for them, GB |\n")
	b.WriteString("| --- | --- | --- | --- | --- | --- |\n")
	for _, replicas := range []float64{3, 10, 100, 1000} {
		perSecond := redisShare / (max(cpu[0], 0) + max(cpu[1], 1e-7)*replicas)
		connections := perSecond * refreshEvery
		fmt.Fprintf(&b, "| %.0f | %s | %s | %s | %s | %s |\n", replicas, thousands(connections), number(perSecond), number(notices*perSecond),
			number(connections*m.PerConnection/1e9), number(connections*(m.RedisPerConnection+m.RedisPerSubscription*replicas)/1e9))
	}
	return b.String()
}

// thousands writes a count to two digits.
func thousands(f float64) string {
	switch {
	case f >= 1e6:
		return fmt.Sprintf("%.1f million", f/1e6)
	case f >= 1e4:
		return fmt.Sprintf("%.0f,000", f/1e3)
	}
	return fmt.Sprintf("%.1f thousand", f/1e3)
}
