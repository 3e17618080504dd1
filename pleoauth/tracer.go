package pleoauth

import "context"

// Tracer follows what calls wait for, by the contexts that they bring. Its
// functions are called by many goroutines at once and must not block; what is
// nil is not called. A call that has its token from memory calls none of them.
type Tracer struct {
	// Wait: the call with this context does not have its token from memory. It
	// goes on with the context that is returned. The function that is returned,
	// unless nil, is called at the end with nil, or why there is no token.
	Wait func(ctx context.Context, connection string) (context.Context, func(error))
	// Refresh: the call with this context has started a refresh, which may
	// outlive it, and which nothing but the refresh itself ends. The function
	// that is returned, unless nil, is called when it is over. A refresh that no
	// call has started, by timer or sweep, has [context.Background].
	Refresh func(ctx context.Context, connection string) func(RefreshEnd)
}

// RefreshEnd is what a refresh came to.
type RefreshEnd struct {
	// Generation is that of the connection's grant afterwards.
	Generation int64
	// Sent says that this process has sent the refresh token. Otherwise another
	// replica's refresh was waited for, or nothing could be sent.
	Sent bool
	// Err is nil if there is another grant now, or another state.
	Err error
}

// WithTracer sets who follows calls. Default: nobody.
func WithTracer(t Tracer) Option { return func(o *options) { o.tracer = t } }

// tracedToken is slowToken, followed by the tracer.
func (s *Source) tracedToken(ctx context.Context, name string) (*Token, error) {
	if s.tracer.Wait == nil {
		return s.slowToken(ctx, name)
	}
	ctx, ended := s.tracer.Wait(ctx, name)
	token, err := s.slowToken(ctx, name)
	if ended != nil {
		ended(err)
	}
	return token, err
}

// tracedAttempt is a flight's attempt, followed by the tracer.
func (s *Source) tracedAttempt(ctx context.Context, c *connection, f *flight) error {
	if s.tracer.Refresh == nil {
		return s.attempt(c, f)
	}
	ended := s.tracer.Refresh(ctx, c.name)
	err := s.attempt(c, f)
	if ended != nil {
		end := RefreshEnd{Sent: f.sent, Err: err}
		if v := c.view.Load(); v != nil {
			end.Generation = v.generation
		}
		ended(end)
	}
	return err
}
