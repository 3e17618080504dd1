package pleoauth

import "time"

// WithRandom sets where delays get their jitter from, so that a simulated
// schedule can be played again.
func WithRandom(random func(n int64) int64) Option { return func(o *options) { o.random = random } }

// Remember makes a grant the one that the source has in memory for a
// connection, as if it had read it.
func (s *Source) Remember(name string, g Grant, age time.Duration) {
	c := s.connection(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.putView(c, s.viewOfPair(&pair{grant: g, version: random128(), generation: 1, obtained: time.Now().Add(-age)}))
}
