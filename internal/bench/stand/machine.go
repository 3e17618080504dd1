//go:build linux

package stand

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPUTime returns the processor time that processes have used, user and system,
// by the kernel's clock of each: to the nanosecond, where /proc has hundredths of
// a second.
func CPUTime(pids ...int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		var ts unix.Timespec
		// clock_getcpuclockid(3): the clock of a process is made of its id.
		if unix.ClockGettime(int32(^pid<<3|2), &ts) == nil { //nolint:gosec // process ids are small
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

// Memory returns a line of the processes' /proc status in bytes, summed: VmRSS is
// what is resident now, VmHWM the most that was.
func Memory(line string, pids ...int) int64 {
	var sum int64
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for row := range strings.Lines(string(text)) {
			if name, value, _ := strings.Cut(row, ":"); name == line {
				kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
				sum += kib << 10
			}
		}
	}
	return sum
}

// ResetPeak makes VmHWM count from now.
func ResetPeak(pids ...int) {
	for _, pid := range pids {
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600)
	}
}

// children returns the ids of a process's children.
func children(pid int) (pids []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			pids = append(pids, child)
		}
	}
	return pids
}

// Processor returns the processor's model.
func Processor() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for row := range strings.Lines(string(text)) {
		if name, value, _ := strings.Cut(row, ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// Kernel returns the operating system's kernel and its release.
func Kernel() string {
	text, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(text)), "-") // what follows is its builder's
	return "Linux " + release
}

// LoadAverage returns the first of /proc/loadavg: how busy the machine was in the
// last minute.
func LoadAverage() float64 {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
