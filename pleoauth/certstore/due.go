package certstore

import (
	"context"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// Due returns up to limit names whose due time has passed. It reads every
// record, which is for the few connections that one process has.
func (s *Store) Due(ctx context.Context, limit int) ([]string, error) {
	if err := s.ready(ctx); err != nil {
		return nil, fmt.Errorf("certstore: due: %w", err)
	}
	all, err := s.names(ctx)
	if err != nil {
		return nil, fmt.Errorf("certstore: due: %w", err)
	}
	var names []string
	now := time.Now()
	for _, name := range all {
		if len(names) == limit {
			break
		}
		fields, err := s.fields(ctx, name)
		if err != nil || fields == nil {
			continue // whoever asks for it will be told
		}
		if r, err := pleoauth.DecodeRecord(fields); err == nil && !r.Due.IsZero() && r.Due.Before(now) {
			names = append(names, name)
		}
	}
	return names, nil
}
