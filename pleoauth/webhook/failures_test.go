package webhook_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/webhook"
)

// seldom has a worker look for what others have left once an hour.
func seldom(c *webhook.Config) { c.After = 4 * time.Hour }

func TestWhatTheReceiverDoesNotTakeIsSentAgainWithTheSameIDAndLessAndLessOften(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		webhook.PollEvery(t, time.Hour)
		w.worker(seldom)
		w.worker(seldom)
		w.receiver.answering(http.StatusInternalServerError)
		w.authorise("acme")
		time.Sleep(24 * time.Hour)
		w.receiver.answering(http.StatusNoContent)
		time.Sleep(24 * time.Hour)
		got := w.receiver.messages()
		require.Greater(t, len(got), 8)
		require.Less(t, len(got), 16)
		for i, m := range got {
			require.Equal(t, got[0].id, m.id)
			require.Equal(t, got[0].body, m.body)
			if i == 1 {
				require.Less(t, m.at.Sub(got[0].at), 25*time.Second)
			}
		}
		require.Equal(t, len(got)-1, w.count(webhook.Failed))
		require.Equal(t, 1, w.count(webhook.Delivered))
		require.Equal(t, []webhook.Kind{webhook.Connected}, w.emitted(), "an event waits for no receiver")
	})
}

func TestAMessageThatIsNeverTakenIsGivenUpAfterDays(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		webhook.PollEvery(t, time.Hour)
		w.worker(seldom)
		w.receiver.answering(http.StatusFound)
		w.authorise("acme")
		time.Sleep(10 * 24 * time.Hour)
		require.Len(t, w.receiver.messages(), 20)
		span := w.receiver.messages()[19].at.Sub(w.receiver.messages()[0].at)
		require.Greater(t, span, 48*time.Hour)
		require.Less(t, span, 100*time.Hour)
		require.Equal(t, 1, w.count(webhook.GivenUp))
		require.Contains(t, w.log.String(), "level=ERROR")

		// The next one is another one.
		w.receiver.answering(http.StatusOK)
		w.end("acme")
		time.Sleep(24 * time.Hour)
		require.Equal(t, required, w.receiver.kinds()[20])
	})
}

func TestAReceiverThatSaysGoneIsLeftAlone(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.receiver.answering(http.StatusGone)
		w.authorise("acme")
		time.Sleep(time.Hour)
		require.Len(t, w.receiver.messages(), 1)
		require.Equal(t, 1, w.count(webhook.Gone))
	})
}

func TestOnlyWhatIsTrueWhenItIsSentIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		answer   int
		cut      error
		expected []string
	}{
		"refused before":                   {http.StatusServiceUnavailable, nil, []string{}},
		"cut off, so that it may be known": {0, errCut, []string{recovered}},
		"late, so that it may be known":    {0, context.DeadlineExceeded, []string{recovered}},
	} {
		t.Run(name, func(t *testing.T) {
			play(t, func(t *testing.T, w *world) {
				w.worker()
				w.authorise("acme")
				settle()
				w.receiver.with(func(*http.Request, []byte) (int, error) { return c.answer, c.cut })
				w.end("acme")
				time.Sleep(time.Minute + 20*time.Second)
				require.Equal(t, required, w.receiver.kinds()[1])
				w.receiver.answering(http.StatusOK)
				w.restore("acme")
				before := len(w.receiver.messages())
				time.Sleep(time.Hour)
				require.Equal(t, c.expected, w.receiver.kinds()[before:])
				require.Equal(t, []webhook.Kind{webhook.Connected, webhook.ReauthorisationRequired, webhook.Recovered}, w.emitted())
			})
		})
	}
}

func TestARecoveryThatTheReceiverRefusesAtFirstIsSentAgain(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.worker()
		w.authorise("acme")
		settle()
		w.receiver.with(func(*http.Request, []byte) (int, error) { return 0, errCut })
		w.end("acme")
		time.Sleep(70 * time.Second)
		w.receiver.answering(http.StatusBadGateway)
		w.restore("acme")
		time.Sleep(16 * time.Second)
		w.receiver.answering(http.StatusOK)
		time.Sleep(time.Hour)
		kinds := w.receiver.kinds()
		require.Equal(t, []string{recovered, recovered}, kinds[len(kinds)-2:])
		require.NotContains(t, kinds[2:len(kinds)-2], connected)
	})
}

func TestTheMessageOfAReplicaThatDiesIsSentByAnother(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		hang := make(chan struct{})
		w.receiver.with(func(req *http.Request, _ []byte) (int, error) {
			<-hang
			return 0, errCut
		})
		// It never comes to hear the end of its request, nor to say so.
		dying := w.worker(func(c *webhook.Config) { c.Timeout = time.Hour })
		w.authorise("acme")
		settle()
		require.Len(t, w.receiver.messages(), 1)
		w.receiver.answering(http.StatusOK)
		w.worker()
		settle()
		require.Len(t, w.receiver.messages(), 1, "the claim stands")
		time.Sleep(2 * time.Hour)
		got := w.receiver.messages()
		require.Len(t, got, 2)
		require.Equal(t, got[0].id, got[1].id)
		close(hang)
		dying.Close(t.Context())
		time.Sleep(time.Hour)
		require.Len(t, w.receiver.messages(), 2, "what the dead one says late changes nothing")
	})
}

func TestAWorkerThatClosesLeavesWhatItWasSendingToOthers(t *testing.T) {
	play(t, func(t *testing.T, w *world) {
		w.receiver.with(func(req *http.Request, _ []byte) (int, error) {
			<-req.Context().Done()
			return 0, req.Context().Err()
		})
		first := w.worker(func(c *webhook.Config) { c.Timeout = time.Hour })
		w.authorise("acme")
		settle()
		require.Len(t, w.receiver.messages(), 1)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		began := time.Now()
		first.Close(ctx)
		require.Less(t, time.Since(began), 3*time.Second)
		w.receiver.answering(http.StatusOK)
		w.worker()
		settle()
		require.Len(t, w.receiver.messages(), 2, "at once, and not after an hour")
	})
}
