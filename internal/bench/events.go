//go:build linux

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/page"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/bench/stand"
)

// events counts what replicas tell each other, and ask Redis, for each refresh.
func (b *bench) events() error {
	sizes := [][2]int{{1, 50}, {2, 50}, {4, 50}, {8, 50}, {16, 50}, {4, 10}, {4, 200}}
	if b.short {
		sizes = [][2]int{{1, 5}, {2, 5}}
	}
	s, err := b.stand()
	if err != nil {
		return err
	}
	defer s.Close()
	b.results.Events = &page.Events{}
	used := 0
	for _, size := range sizes {
		row, err := b.eventsOf(s, size[0], size[1], used)
		if err != nil {
			return fmt.Errorf("%d replicas, %d connections: %w", size[0], size[1], err)
		}
		used += size[1]
		b.results.Events.Rows = append(b.results.Events.Rows, row)
	}
	return nil
}

// eventsOf has the given number of replicas use connections from first on, and each of
// these refreshed once.
func (b *bench) eventsOf(s *stand.Stand, replicas, connections, first int) (page.EventsRow, error) {
	row := page.EventsRow{Replicas: replicas, Connections: connections}
	seeder, err := s.Seeder(b.ctx, tokenLife)
	if err != nil {
		return row, err
	}
	if err := seeder.Seed(b.ctx, first, first+connections); err != nil {
		return row, err
	}
	all, closeAll, err := b.replicas(s, replicas)
	if err != nil {
		return row, err
	}
	defer closeAll()
	names := make([]string, connections)
	for i := range names {
		names[i] = stand.Name(first + i)
	}
	if err := read(b.ctx, all, names); err != nil {
		return row, err
	}
	redis := s.RedisPID()
	before, err := s.Commands(b.ctx)
	if err != nil {
		return row, err
	}
	redisBefore, noticesBefore := stand.CPUTime(redis), noticesOf(all)
	for i, name := range names {
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		// Returns when all serve the new token: each has read the record.
		_, err := refreshAndServe(ctx, all[i%replicas], all, name)
		cancel()
		if err != nil {
			return row, err
		}
	}
	row.RedisCPU = round((stand.CPUTime(redis) - redisBefore).Seconds())
	after, err := s.Commands(b.ctx)
	if err != nil {
		return row, err
	}
	row.Commands = stand.CommandsBetween(before, after)
	row.Notices = round(float64(noticesOf(all)-noticesBefore) / float64(replicas))
	return row, nil
}

func noticesOf(all []*replica) (n int64) {
	for _, r := range all {
		n += r.store.notices.Load()
	}
	return n
}
