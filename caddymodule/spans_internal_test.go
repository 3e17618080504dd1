package caddymodule

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/trace"
)

// untraced is a call as it comes without the directive tracing, and one that
// the sampler has left out.
func untraced() map[string]context.Context {
	leftOut := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}})
	return map[string]context.Context{
		"without tracing": context.Background(),
		"not sampled":     trace.ContextWithSpanContext(context.Background(), leftOut),
	}
}

// spansOfACall asks for every span that a call can have.
func spansOfACall(ctx context.Context) {
	tracer := spans()
	waiting, _ := tracer.Wait(ctx, "default")
	_ = tracer.Refresh(waiting, "default")
	_, refused := startSpan(ctx, "pleo.refused", "default")
	refused.end(nil)
	startRepeat(ctx, "default", 1).answered(nil, nil)
}

func TestACallThatIsNotTracedCostsNoAllocationForSpans(t *testing.T) {
	for name, ctx := range untraced() {
		require.Zero(t, testing.AllocsPerRun(100, func() { spansOfACall(ctx) }), name)
	}
}

func BenchmarkSpansOfACallThatIsNotTraced(b *testing.B) {
	for name, ctx := range untraced() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				spansOfACall(ctx)
			}
		})
	}
}
