package pleotest_test

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

func TestAServerListensWhereItIsTold(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := free.Addr().String()
	require.NoError(t, free.Close())
	i := start(t, pleotest.WithAPIAddress(address))
	require.Equal(t, "http://"+address, i.APIURL)
	_, err = pleotest.StartServer(pleotest.WithAuthAddress(address))
	require.Error(t, err, "taken")
	require.Panics(t, func() { pleotest.NewServer(pleotest.WithControlAddress(address)) })
}

func TestAServerCanSpeakTLS(t *testing.T) {
	for name, options := range map[string][]pleotest.Option{"sockets": nil, "in memory": {pleotest.WithInMemory()}} {
		t.Run(name, func(t *testing.T) {
			i := start(t, append(options, pleotest.WithTLS())...)
			require.True(t, strings.HasPrefix(i.AuthURL, "https://"))
			require.True(t, strings.HasPrefix(i.APIURL, "https://"))
			a := i.connect("")
			require.Equal(t, http.StatusOK, i.call(a.Access, "/v2/employees").Status)
			require.True(t, x509.NewCertPool().AppendCertsFromPEM(i.CertPEM()))
			if name == "sockets" {
				_, err := http.Get(i.APIURL + "/v2/employees")
				require.Error(t, err, "nobody else trusts it")
			}
		})
	}
	require.Nil(t, start(t).CertPool())
	require.Nil(t, start(t).CertPEM())
}

func TestABubbleHoldsAWholeServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := start(t, pleotest.WithInMemory())
		a := i.connect("")
		require.Equal(t, http.StatusOK, i.token(refresh(a.Refresh)).Status)
		i.Close()
		_, err := i.tryToken(refresh(a.Refresh))
		require.Error(t, err)
	})
}

func TestTheHandlersWorkWithoutAServer(t *testing.T) {
	emulator, err := pleotest.NewEmulator()
	require.NoError(t, err)
	defer emulator.Close()
	a, err := emulator.Issue("", "", "")
	require.NoError(t, err)
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, "/v2/employees", nil)
	r.Header.Set("Authorization", "Bearer "+a.AccessToken)
	emulator.API.ServeHTTP(w, r)
	require.Equal(t, http.StatusOK, w.Code)
	emulator.Close()
	w = httptest.NewRecorder()
	emulator.API.ServeHTTP(w, r)
	require.Equal(t, http.StatusServiceUnavailable, w.Code)
}

func TestMistakesInOptionsAreErrors(t *testing.T) {
	for name, option := range map[string]pleotest.Option{
		"redirect": pleotest.WithRedirectURI("http://integration.example.com/"),
		"client":   pleotest.WithClient(pleotest.Client{}),
		"consent":  pleotest.WithConsent("x", ""),
		"company":  pleotest.WithConsent(pleotest.AutoApprove, "x"),
		"life":     pleotest.WithAccessTokenLife(-1),
	} {
		_, err := pleotest.NewEmulator(option)
		require.Error(t, err, name)
		_, err = pleotest.StartServer(option)
		require.Error(t, err, name)
	}
	emulator, err := pleotest.NewEmulator()
	require.NoError(t, err)
	_, err = emulator.Issue("x", "", "")
	require.Error(t, err)
	_, err = emulator.Issue("", "x", "")
	require.Error(t, err)
}

func TestAnEmulatorCanGoByOtherAddresses(t *testing.T) {
	i := start(t, pleotest.WithURLs("https://auth.example", "https://api.example"))
	got := i.introspect(i.connect("").Access).Body
	require.Equal(t, "https://auth.example", got["iss"])
	require.Equal(t, "https://api.example", got["aud"])
}
