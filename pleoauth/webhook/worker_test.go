package webhook_test

import (
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

const (
	connected = "connected"
	required  = "reauthorisation_required"
	recovered = "recovered"
)

// play runs a test in virtual time.
func play(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(t, w)
	})
}

// settle lets everything happen that is to happen soon.
func settle() { time.Sleep(30 * time.Second) }

func TestAnAuthorisationIsToldOnceByOneOfThreeReplicas(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		for range 3 {
			w.worker()
		}
		w.authorise("acme")
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected}, w.receiver.kinds())
		require.Equal(t, []webhook.Kind{webhook.Connected}, w.emitted())
		require.Equal(t, 1, w.count(webhook.Delivered))
	})
}

func TestTheReplicaThatMakesAChangeTellsItAtOnce(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		own := webhook.New(identity, w.records, nil)
		own.Note(true)
		c := w.config()
		require.NoError(t, own.Configure(&c))
		defer own.Close(t.Context())
		time.Sleep(time.Second)
		before := time.Now()
		w.authorise("acme")
		synctest.Wait()
		require.Equal(t, []string{connected}, w.receiver.kinds())
		require.Less(t, w.receiver.messages()[0].at.Sub(before), time.Second)

		own.Note(false)
		w.end("acme")
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected}, w.receiver.kinds(), "what is not noted is not told")
	})
}

func TestAReauthorisationIsToldAfterAMinute(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.worker()
		w.authorise("acme")
		settle()
		w.end("acme")
		ended := time.Now()
		time.Sleep(59 * time.Second)
		require.Equal(t, []string{connected}, w.receiver.kinds())
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected, required}, w.receiver.kinds())
		late := w.receiver.messages()[1].at.Sub(ended)
		require.GreaterOrEqual(t, late, time.Minute)
		require.Less(t, late, 80*time.Second)
		require.Equal(t, []webhook.Kind{webhook.Connected, webhook.ReauthorisationRequired}, w.emitted())
	})
}

func TestAGrantThatComesBackWithinTheMinuteIsNoNews(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		for range 3 {
			w.end("acme")
			time.Sleep(50 * time.Second)
			w.restore("acme")
			time.Sleep(20 * time.Second)
		}
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected}, w.receiver.kinds())
		require.Equal(t, []webhook.Kind{webhook.Connected}, w.emitted())
	})
}

func TestAGrantThatComesBackLaterHasRecovered(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		for range 2 {
			w.end("acme")
			time.Sleep(2 * time.Minute)
			w.restore("acme")
			time.Sleep(time.Hour)
		}
		require.Equal(t, []string{connected, required, recovered, required, recovered}, w.receiver.kinds())
		ids := map[string]bool{}
		for _, m := range w.receiver.messages() {
			ids[m.id] = true
		}
		require.Len(t, ids, 5, "each is another message")
		require.Len(t, w.emitted(), 5)
	})
}

func TestANewAuthorisationAfterTheEndIsConnectedAndNotRecovered(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		w.end("acme")
		time.Sleep(2 * time.Minute)
		w.authorise("acme")
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected, required, connected}, w.receiver.kinds())
	})
}

func TestRefreshesAndDisconnectsAreNotTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		for range 10 {
			w.restore("acme") // the next generation, that is
			settle()
		}
		w.end("acme")
		w.put("acme", func(r *pleoauth.Record) { r.State, r.Seq = pleoauth.StateDisconnected, r.Seq+1 })
		time.Sleep(time.Hour)
		require.Equal(t, []string{connected}, w.receiver.kinds())
		w.authorise("acme")
		settle()
		require.Equal(t, []string{connected, connected}, w.receiver.kinds())
		w.put("acme", func(r *pleoauth.Record) { r.State, r.Seq = pleoauth.StateDisconnected, r.Seq+1 })
		settle()
		w.put("acme", func(r *pleoauth.Record) { *r = pleoauth.Record{} })
		time.Sleep(time.Hour)
		require.Len(t, w.receiver.messages(), 2)
	})
}

func TestThousandsOfConnectionsThatWereThereBeforeAreNotTold(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.records.NoteChanges(nil)
		for i := range 50 {
			w.authorise("c" + strconv.Itoa(i))
		}
		for i := range 10 {
			w.end("c" + strconv.Itoa(i))
		}
		w.records.NoteChanges(func() {})
		w.worker()
		time.Sleep(time.Hour)
		// One of them is written back, as into a store that was emptied.
		w.put("c40", func(r *pleoauth.Record) { *r = pleoauth.Record{} })
		time.Sleep(time.Hour)
		w.put("c40", func(r *pleoauth.Record) {
			r.State, r.Seq, r.Generation = pleoauth.StateConnected, time.Now().Add(-48*time.Hour).UnixMilli(), 7
		})
		time.Sleep(time.Hour)
		require.Empty(t, w.receiver.messages())
		w.end("c40")
		time.Sleep(time.Hour)
		require.Equal(t, []string{required}, w.receiver.kinds())
	})
}

func TestManyMessagesAreSentAFewAtATime(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.receiver.with(func(*http.Request, []byte) (int, error) {
			time.Sleep(time.Second)
			return http.StatusOK, nil
		})
		for i := range 60 {
			w.authorise("c" + strconv.Itoa(i))
		}
		w.worker()
		time.Sleep(15 * time.Second)
		require.Len(t, w.receiver.messages(), 60)
		require.LessOrEqual(t, w.receiver.most, 8)
		require.Greater(t, w.receiver.most, 4)
	})
}

func TestWithoutAReceiverEventsAreEmittedAllTheSame(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker(func(c *webhook.Config) { c.URL, c.Secrets = "", nil })
		w.worker(func(c *webhook.Config) { c.URL, c.Secrets = "", nil })
		w.authorise("acme")
		settle()
		w.end("acme")
		time.Sleep(2 * time.Minute)
		w.restore("acme")
		time.Sleep(time.Hour)
		require.Equal(t, []webhook.Kind{webhook.Connected, webhook.ReauthorisationRequired, webhook.Recovered}, w.emitted())
		require.Empty(t, w.receiver.messages())
	})
}

func TestAWorkerGoesOnWithAnotherConfigurationOrWithNone(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		worker := w.worker()
		require.NoError(t, worker.Configure(nil))
		w.authorise("acme")
		time.Sleep(time.Hour)
		require.Empty(t, w.receiver.messages())
		require.ErrorIs(t, worker.Configure(&webhook.Config{URL: "http://app.example.com"}), webhook.ErrConfig)
		c := w.config()
		c.Secrets = []string{other, secret}
		require.NoError(t, worker.Configure(&c))
		settle()
		require.Equal(t, []string{connected}, w.receiver.kinds(), "the receiver knows one of the secrets")
	})
}

func TestAnEventTellsWhatAnApplicationNeedsAndNoMore(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		w.end("acme")
		at := time.Now().UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano)
		time.Sleep(2 * time.Minute)
		require.JSONEq(t, `{
			"type": "reauthorisation_required", "timestamp": "`+at+`",
			"data": {
				"connection": "acme", "state": "reauthorisation_required", "reason": "lost_response",
				"subject": "urn:pleo:company:1", "authorise_uri": "https://proxy.example.com/authorise?connection=acme"
			}
		}`, w.receiver.messages()[1].body)
		require.NotContains(t, w.log.String(), "of-the-url")
		require.NotContains(t, w.log.String(), secret)
	})
}
