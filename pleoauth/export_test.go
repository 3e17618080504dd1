package pleoauth

import (
	"context"
	"time"
)

// WithRandom sets where delays get their jitter from, so that a simulated
// schedule can be played again.
func WithRandom(random func(n int64) int64) Option { return func(o *options) { o.random = random } }

// OpenGrant opens a record's grant, for judgements about what is stored.
func OpenGrant(keys *Keyring, cfg Config, name string, sealed []byte) (Grant, error) {
	s := &Source{}
	s.settings.Store(&settings{client: &Client{cfg: cfg.WithDefaults()}, keys: keys})
	return s.openGrant(name, sealed)
}

// SpilledRefreshToken returns the refresh token in a file of held pairs.
func SpilledRefreshToken(s *Source, path string) (string, error) {
	_, p, err := s.openSpilled(path)
	if err != nil {
		return "", err
	}
	return p.grant.RefreshToken, nil
}

// Remember makes a grant the one that the source has in memory for a
// connection, as if it had read it.
func (s *Source) Remember(name string, g Grant, age time.Duration) {
	c := s.connection(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	s.putView(c, s.viewOfPair(&pair{grant: g, version: random128(), generation: 1, obtained: time.Now().Add(-age)}))
}

// HasInMemory reports whether the source has the grant of a refresh token in memory,
// stored or held.
func HasInMemory(s *Source, refreshToken string) (has bool) {
	s.conns.each(func(c *connection) {
		c.mu.Lock()
		h := c.held
		c.mu.Unlock()
		v := c.view.Load()
		has = has || v != nil && v.pair != nil && v.pair.grant.RefreshToken == refreshToken || h != nil && h.pair.grant.RefreshToken == refreshToken
	})
	return has
}

// Entries returns how many connections the source has in memory.
func Entries(s *Source) (n int) {
	s.conns.each(func(*connection) { n++ })
	return n
}

// JudgeLate is what a caller of Refused meets who has seen the token that the
// source has now, and gets on only when the returned function is called.
func (s *Source) JudgeLate(ctx context.Context, name string) (judge func() error) {
	c := s.connection(name)
	v := c.view.Load()
	return func() error {
		_, err := s.askOnce(ctx, c, v)
		return err
	}
}

// GiveUp forgets what the source has of a connection, as when it adopts another
// grant than its own: that may be followed by the first one again.
func (s *Source) GiveUp(name string) {
	c := s.connection(name)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Store(nil)
}
