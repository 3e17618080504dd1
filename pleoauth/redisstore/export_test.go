package redisstore

import (
	"context"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// NoticeChannel returns the channel of a connection's notices.
func (s *Store) NoticeChannel(name string) string { return s.keys.notice(name) }

// SwapTwice makes a swap as a network would that delivers it twice, and returns
// both answers.
func (s *Store) SwapTwice(ctx context.Context, name string, old pleoauth.Snapshot, next pleoauth.Record, o pleoauth.SwapOptions) ([][]any, error) {
	args, err := s.swapArgs(name, old, next, o)
	if err != nil {
		return nil, err
	}
	var answers [][]any
	for range 2 {
		answer, err := swapScript.Run(ctx, s.client, s.keys.swap(name), args...).Slice()
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// SplitRisks judges what INFO tells of a server, without CONFIG GET.
func SplitRisks(info string, markLife time.Duration) []pleoauth.DurabilityRisk {
	c := durabilityCheck{info: parseInfo(info), config: func(string) (string, bool) { return "", false }}
	c.split(markLife)
	return c.risks
}
