package pleoauth

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
