package test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/redistest"
)

// Whoever writes to the store sets times that no year of JSON has.
func TestARecordWithATimeThatIsNoneHidesNoConnection(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	e := startPleo(t)
	p := startProxy(t, e, onRedis(r))
	e.authorise(t, p, "default", company(0))
	e.authorise(t, p, "other", company(1))
	c := r.Client(t)
	keys, err := c.Keys(t.Context(), ofDefault).Result()
	require.NoError(t, err)
	require.Len(t, keys, 1)
	for _, field := range []string{"expires", "obtained"} {
		for _, value := range []string{"9223372036854775807", "-9223372036854775808"} {
			before := c.HGet(t.Context(), keys[0], field).Val()
			require.NoError(t, c.HSet(t.Context(), keys[0], field, value).Err())
			var page struct{ Connections []struct{ Name string } }
			a := p.admin(t, http.MethodGet, "/pleo/connections", "", nil)
			require.NoError(t, json.Unmarshal(a.body, &page), "%s %s: %d %s", field, value, a.status, a.body)
			require.Len(t, page.Connections, 2)
			var one struct{ Name string }
			a = p.admin(t, http.MethodGet, "/pleo/connections/default", "", nil)
			require.NoError(t, json.Unmarshal(a.body, &one), "%s %s: %d %s", field, value, a.status, a.body)
			require.Equal(t, "default", one.Name)
			require.NoError(t, c.HSet(t.Context(), keys[0], field, before).Err())
		}
	}
}
