package docs_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/caddyserver/certmagic"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A program that calls Pleo by way of package pleoauth: a source in front of a
// store, a company that is connected once, and calls that are served from then
// on. The emulator is in Pleo's place, and a folder in that of Redis.
func Example_library() {
	pleo := pleotest.NewServer(pleotest.WithRedirectURI("http://localhost/callback"))
	defer pleo.Close()
	folder, err := os.MkdirTemp("", "pleoauth-example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(folder) }()

	cfg := pleoauth.Config{
		AuthServer:   pleo.AuthURL,
		APIServer:    pleo.APIURL,
		ClientID:     pleo.ClientID,
		ClientSecret: pleo.ClientSecret,
		Scopes:       []string{"users:read"},
		RedirectURI:  "http://localhost/callback",
	}
	keys, err := pleoauth.NewKeyring(pleoauth.GenerateKey())
	if err != nil {
		panic(err)
	}
	store, err := certstore.New(
		&certmagic.FileStorage{Path: folder}, folder+"/locks",
		pleoauth.Identity{Issuer: cfg.AuthServer, ClientID: cfg.ClientID},
	)
	if err != nil {
		panic(err)
	}
	if err := program(context.Background(), pleo, cfg, store, keys); err != nil {
		panic(err)
	}
	// Output:
	// acme belongs to urn:pleo:company:3b1d7c52-8f0e-4c6a-9d43-5a1f0c7e2b11
	// 200 OK
}

func program(ctx context.Context, pleo *pleotest.Server, cfg pleoauth.Config, store pleoauth.Store, keys *pleoauth.Keyring) error {
	source, err := pleoauth.NewSource(cfg, store, keys)
	if err != nil {
		return err
	}
	defer func() { _ = source.Close(ctx) }()

	// Once: send a browser to begin.URL, with begin.Binding in a cookie.
	begin, err := source.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: "acme"})
	if err != nil {
		return err
	}
	callback, err := pleo.Approve(begin.URL, "") // the user's click
	if err != nil {
		return err
	}
	back, err := url.Parse(callback)
	if err != nil {
		return err
	}
	completed, err := source.CompleteAuthorisation(ctx, pleoauth.Callback{
		State:   back.Query().Get("state"),
		Code:    back.Query().Get("code"),
		Error:   back.Query().Get("error"),
		Binding: func(string) string { return begin.Binding }, // the cookie's value
	})
	if err != nil {
		return err
	}
	fmt.Println(completed.Connection, "belongs to", completed.Subject)

	// From memory, or after the one refresh that is under way:
	token, err := source.Token(ctx, "acme")
	if err != nil {
		return err // errors.Is(err, pleoauth.ErrNotConnected), …
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, pleo.APIURL+"/v2/employees", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", token.Authorization())
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, res.Body)
	fmt.Println(res.Status)
	return nil
}

// What the README shows of package pleotest.
func Example_emulator() {
	pleo := pleotest.NewServer(pleotest.WithRedirectURI("http://localhost/callback"))
	defer pleo.Close()

	// Point your code at pleo.AuthURL and pleo.APIURL. Let the answer to a refresh be lost:
	pleo.Fault(pleotest.Fault{
		Endpoint:  pleotest.Token,
		GrantType: pleotest.RefreshToken,
		Drop:      pleotest.AfterProcessing,
	})

	// … and in the end:
	fmt.Println("replays:", pleo.Counters().Replays)
	// Output:
	// replays: 0
}
