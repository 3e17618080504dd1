package caddymodule

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// eventPrefix is what the names of our events begin with.
const eventPrefix = "pleo."

// provisionNotify has what is configured to be told also emitted as Caddy's
// events, from when the whole configuration has started: before, those who
// listen may not be there yet.
func (a *App) provisionNotify(ctx caddy.Context) error {
	if a.notify == nil {
		return nil
	}
	app, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	events, ok := app.(*caddyevents.App)
	if !ok {
		return fmt.Errorf("notify: the app events is %T", app)
	}
	a.notify.Logger = ctx.Slogger()
	a.notify.AuthoriseURI = func(connection string) string { return a.authoriseURI(connection, "") }
	a.notify.Emit = func(e webhook.Event) { events.Emit(ctx, eventPrefix+string(e.Kind), eventData(e)) }
	if err := events.On("started", startedHandler{a}); err != nil {
		return fmt.Errorf("notify: %w", err)
	}
	return nil
}

// eventData is what an event of Caddy's tells: the same as the webhook.
func eventData(e webhook.Event) map[string]any {
	return map[string]any{
		"id":            e.ID,
		"time":          e.Time.Format(time.RFC3339Nano),
		"connection":    e.Data.Connection,
		"state":         string(e.Data.State),
		"reason":        string(e.Data.Reason),
		"subject":       e.Data.Subject,
		"authorise_uri": e.Data.AuthoriseURI,
	}
}

// startedHandler hears that the configuration has started.
type startedHandler struct{ app *App }

// Handle implements [caddyevents.Handler].
func (h startedHandler) Handle(context.Context, caddy.Event) error {
	if shared := h.app.life.shared.Load(); shared != nil {
		return shared.started(h.app)
	}
	return nil
}

// Interface guards
var (
	_ caddyevents.Handler = startedHandler{}
)
