package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

const (
	// retryStore is how soon a change is looked at again whose record could not be
	// read, and retryUnreadable if its record is not one that can be.
	retryStore      = 5 * time.Second
	retryUnreadable = time.Hour
	// finishEvery is how often it is tried to keep what became of a message.
	finishEvery = 500 * time.Millisecond
)

// errForeign is returned when a record is of another client.
var errForeign = errors.New("the record is another client's")

// look looks at a change that was claimed, and tells what there is to tell.
func (w *Worker) look(c *configured, change pleoauth.Change) {
	log := c.Logger.With("connection", change.Connection)
	t := parseTold(change.Told)
	snap, err := w.read(change.Connection)
	if err != nil {
		again := retryStore
		if errors.Is(err, pleoauth.ErrRecordUnreadable) || errors.Is(err, errForeign) {
			again = retryUnreadable
		}
		log.Warn("a connection has changed, but its record could not be read", "error", err)
		w.finish(c, change, t, again)
		return
	}
	v := decide(w.id, snap, change, t, c.After, c.sender != nil)
	switch {
	case v.event == nil && v.wait > 0:
		w.finish(c, change, v.told, v.wait)
	case v.event == nil:
		w.finish(c, change, v.told, 0)
	default:
		w.tell(c, change, t, v, snap.Seq)
	}
}

func (w *Worker) read(name string) (pleoauth.Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.Background(), command)
	defer cancel()
	snap, err := w.store.Read(ctx, name)
	if err == nil && snap.Revision != "" && (snap.Issuer != w.id.Issuer || snap.ClientID != w.id.ClientID) {
		err = errForeign
	}
	return snap, err
}

// tell emits an event and makes one attempt to post it. What is about to be done
// is kept in the store first, so that another process knows what it may find.
func (w *Worker) tell(c *configured, change pleoauth.Change, t told, v verdict, seq int64) {
	e := *v.event
	e.Data.AuthoriseURI = c.AuthoriseURI(e.Data.Connection)
	if v.emit && c.Emit != nil {
		c.Emit(e)
		t = t.emitted(&e)
	}
	if !v.post {
		w.finish(c, change, t.over(&e, seq, false), 0)
		return
	}
	t, before := t.begun(&e, seq)
	ctx, cancel := context.WithTimeout(context.Background(), command)
	err := w.store.KeepChange(ctx, change, t.text(), c.lease())
	cancel()
	if err != nil {
		c.Logger.Debug("a message is not sent: its claim could not be kept", "connection", change.Connection, "error", err)
		return
	}
	began := time.Now()
	err = c.sender.send(w.sending, e)
	w.sent(c, change, t, before, e, seq, err, time.Since(began))
}

// sent keeps and logs what became of an attempt.
func (w *Worker) sent(c *configured, change pleoauth.Change, t told, before trying, e Event, seq int64, err error, took time.Duration) {
	log := c.Logger.With("connection", change.Connection, "event", string(e.Kind), "id", e.ID, "attempt", t.Trying.Attempts, "duration", took)
	if errors.Is(err, errUndelivered) || errors.Is(err, errGone) {
		t.Trying.Maybe = before.Maybe
	}
	maybe := t.Trying.Maybe
	switch {
	case err == nil:
		log.Info("webhook delivered")
		w.observe(e.Kind, Delivered)
		w.finish(c, change, t.over(&e, seq, true), 0)
	case w.sending.Err() != nil:
		log.Info("webhook cut off: this process ends; another sends it again")
		w.finish(c, change, t, time.Millisecond)
	case errors.Is(err, errGone):
		log.Warn("webhook refused for good; this message is not sent again", "error", err)
		w.observe(e.Kind, Gone)
		w.finish(c, change, t.over(&e, seq, maybe), 0)
	case t.Trying.Attempts >= maxAttempts:
		log.Error("webhook given up: the receiver has not taken it in any attempt", "error", err)
		w.observe(e.Kind, GivenUp)
		w.finish(c, change, t.over(&e, seq, maybe), 0)
	default:
		again := wait(t.Trying.Attempts)
		log.Warn("webhook not delivered; it will be sent again", "wait", again, "error", err)
		w.observe(e.Kind, Failed)
		w.finish(c, change, t, again)
	}
}

// finish keeps what is known, and tries for as long as the claim stands: what the
// store does not come to know is told again.
func (w *Worker) finish(c *configured, change pleoauth.Change, t told, again time.Duration) {
	var err error
	for end := time.Now().Add(c.lease()); ; {
		ctx, cancel := context.WithTimeout(context.Background(), command)
		err = w.store.FinishChange(ctx, change, t.text(), again)
		cancel()
		if err == nil || errors.Is(err, pleoauth.ErrClaimLost) || w.sending.Err() != nil || time.Now().Add(finishEvery).After(end) {
			break
		}
		time.Sleep(finishEvery)
	}
	if err != nil {
		c.Logger.Debug("what became of a change could not be kept", "connection", change.Connection, "error", fmt.Errorf("finish: %w", err))
		return
	}
	w.more.Store(true) // it may have changed meanwhile, and is to be looked at now
	if again > 0 {
		w.soon(again)
	}
}
