package pleoauth_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/caddyserver/certmagic"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/certstore"
	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// A program that calls Pleo's API for its customers, without a proxy.
func Example() {
	ctx := context.Background()
	pleo := pleotest.NewServer(pleotest.WithRedirectURI("http://localhost/callback"))
	defer pleo.Close()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()

	cfg := pleoauth.Config{
		AuthServer: pleo.AuthURL, APIServer: pleo.APIURL,
		ClientID: pleo.ClientID, ClientSecret: pleo.ClientSecret,
		Scopes: []string{"users:read"}, RedirectURI: "http://localhost/callback",
	}
	store, err := certstore.New(&certmagic.FileStorage{Path: dir}, dir, pleoauth.Identity{Issuer: cfg.AuthServer, ClientID: cfg.ClientID})
	if err != nil {
		panic(err)
	}
	keys, err := pleoauth.NewKeyring(pleoauth.GenerateKey())
	if err != nil {
		panic(err)
	}
	source, err := pleoauth.NewSource(cfg, store, keys)
	if err != nil {
		panic(err)
	}
	defer func() { _ = source.Close(ctx) }()

	// Nobody has connected the company yet.
	_, err = source.Token(ctx, "acme")
	fmt.Println(errors.Is(err, pleoauth.ErrNotConnected))

	// A user does, with a browser.
	begun, err := source.BeginAuthorisation(ctx, pleoauth.AuthorisationRequest{Connection: "acme"})
	if err != nil {
		panic(err)
	}
	back, err := pleo.Approve(begun.URL, "")
	if err != nil {
		panic(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		panic(err)
	}
	_, err = source.CompleteAuthorisation(ctx, pleoauth.Callback{
		State: u.Query().Get("state"), Code: u.Query().Get("code"),
		Binding: func(string) string { return begun.Binding }, // the browser's cookie
	})
	if err != nil {
		panic(err)
	}

	// From now on there is a token, refreshed before it expires.
	token, err := source.Token(ctx, "acme")
	if err != nil {
		panic(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, pleo.APIURL+"/v2/employees", nil)
	if err != nil {
		panic(err)
	}
	req.Header.Set("Authorization", token.Authorization())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Println(resp.Status, token)
	// Output:
	// true
	// 200 OK [redacted]
}

func ExampleNewKeyring() {
	// A new first key seals; the old one still opens what it sealed.
	first, second := pleoauth.GenerateKey(), pleoauth.GenerateKey()
	_, err := pleoauth.NewKeyring(second, first)
	fmt.Println(err)

	_, err = pleoauth.NewKeyring("c2hvcnQ=")
	fmt.Println(err)
	// Output:
	// <nil>
	// configuration: encryption_key 1 of 1 is 5 bytes long, not 32
}
