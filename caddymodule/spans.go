package caddymodule

import (
	"context"
	"errors"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// tracerName is the scope of our spans.
const tracerName = "github.com/pleo-auth-proxy/pleo-auth-proxy/caddymodule"

// span is a step of a call in the trace that Caddy's directive tracing has
// begun. The zero value is none, and costs nothing.
type span struct{ trace.Span }

// startSpan starts a span below the context's, with the provider of that: what
// Caddy sets up is not OpenTelemetry's global one. If the call is not traced,
// it returns the same context and no span.
func startSpan(ctx context.Context, name, connection string) (context.Context, span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() { // and not IsRecording: a refresh may begin when its call is over
		return ctx, span{}
	}
	ctx, started := parent.TracerProvider().Tracer(tracerName).Start(ctx, name,
		trace.WithAttributes(attribute.String("pleo.connection", connection)))
	return ctx, span{started}
}

// end ends the span. Of an error it says the kind alone, in the words of our
// problem documents.
func (s span) end(err error) {
	if s.Span == nil {
		return
	}
	if err != nil && !errors.Is(err, pleoauth.ErrTokenAlive) { // which is an answer
		s.failed(pleoauth.ErrorKind(err))
	}
	s.End()
}

func (s span) failed(kind string) {
	s.SetAttributes(attribute.String("error.type", kind))
	s.SetStatus(codes.Error, "")
}

// startRepeat starts a span for a call that is sent again after so many
// refusals; the first sending is the reverse proxy's own, and has none.
func startRepeat(ctx context.Context, connection string, refusals int) span {
	if refusals == 0 {
		return span{}
	}
	_, s := startSpan(ctx, "pleo.repeat", connection)
	return s
}

// answered ends a repetition's span.
func (s span) answered(res *http.Response, err error) {
	switch {
	case s.Span == nil:
		return
	case err != nil:
		s.failed(pleoauth.ErrorKind(err))
	default:
		s.SetAttributes(attribute.Int("http.response.status_code", res.StatusCode))
	}
	s.End()
}

// spans follows what calls wait for.
func spans() pleoauth.Tracer {
	return pleoauth.Tracer{
		Wait: func(ctx context.Context, connection string) (context.Context, func(error)) {
			ctx, s := startSpan(ctx, "pleo.token", connection)
			if s.Span == nil {
				return ctx, nil
			}
			return ctx, s.end
		},
		Refresh: func(ctx context.Context, connection string) func(pleoauth.RefreshEnd) {
			_, s := startSpan(ctx, "pleo.refresh", connection)
			if s.Span == nil {
				return nil
			}
			return func(end pleoauth.RefreshEnd) {
				s.SetAttributes(attribute.Int64("pleo.generation", end.Generation), attribute.Bool("pleo.sent", end.Sent))
				s.end(end.Err)
			}
		},
	}
}
