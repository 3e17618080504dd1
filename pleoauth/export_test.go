package pleoauth

// WithRandom sets where delays get their jitter from, so that a simulated
// schedule can be played again.
func WithRandom(random func(n int64) int64) Option { return func(o *options) { o.random = random } }
