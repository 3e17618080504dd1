package pleoauth_test

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

func TestARecordThatIsNotOursDoesNotHideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "a", "")
		w.authorise(r, "b", "")
		foreign := w.store.record("a")
		foreign.ClientID = "another-client"
		w.store.put("a", foreign)
		infos, _, err := r.Connections(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, infos, 2)
		require.Equal(t, pleoauth.ConnectionInfo{Name: "a", LastError: "store-unavailable"}, infos[0])
		require.Equal(t, pleoauth.StateConnected, infos[1].State)
	})
}

func TestANameThatIsNoneDoesNotHideTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := w.replica()
		w.authorise(r, "default", "")
		w.store.put("../<b>", w.store.record("default")) // as only another program can
		infos, _, err := r.Connections(t.Context(), "", 10)
		require.NoError(t, err)
		require.Len(t, infos, 1)
		require.Equal(t, "default", infos[0].Name)
	})
}
