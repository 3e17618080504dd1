package pleotest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth/pleotest"
)

// The way from a user's consent to data of the user's company. An integration
// does all of it but the click.
func Example() {
	pleo := pleotest.NewServer(pleotest.WithRedirectURI("http://localhost/callback"))
	defer pleo.Close()

	verifier := "a-verifier-of-43-to-128-characters-unguessable"
	sum := sha256.Sum256([]byte(verifier))
	authoriseURL := pleo.AuthURL + "/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {pleo.ClientID}, "redirect_uri": {"http://localhost/callback"},
		"scope": {"users:read"}, "state": {"unguessable"}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])},
	}.Encode()

	callback, err := pleo.Approve(authoriseURL, "Nordlys Kaffe ApS") // the click
	if err != nil {
		panic(err)
	}

	back, _ := url.Parse(callback)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {back.Query().Get("code")},
		"redirect_uri": {"http://localhost/callback"}, "code_verifier": {verifier},
	}
	request, _ := http.NewRequest(http.MethodPost, pleo.AuthURL+"/oauth/token", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(pleo.ClientID), url.QueryEscape(pleo.ClientSecret))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer func() { _ = response.Body.Close() }()
	var tokens struct {
		Type string `json:"token_type"`
		Life int    `json:"expires_in"`
	}
	_ = json.NewDecoder(response.Body).Decode(&tokens)

	fmt.Println(response.Status, tokens.Type, tokens.Life)
	fmt.Println("exchanges:", pleo.Counters().Exchanges)
	// Output:
	// 200 OK Bearer 900
	// exchanges: 1
}

// A test that is about the API needs no consent.
func ExampleEmulator_Issue() {
	pleo := pleotest.NewServer()
	defer pleo.Close()

	authorisation, err := pleo.Issue("", "Harbour & Finch Ltd", "users:read")
	if err != nil {
		panic(err)
	}
	request, _ := http.NewRequest(http.MethodGet, pleo.APIURL+"/v2/employees?limit=2", nil)
	request.Header.Set("Authorization", "Bearer "+authorisation.AccessToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer func() { _ = response.Body.Close() }()
	var page struct{ Data []struct{ Email string } }
	_ = json.NewDecoder(response.Body).Decode(&page)
	for _, employee := range page.Data {
		fmt.Println(employee.Email)
	}
	// Output:
	// priya.nair@harbourfinch.example
	// tom.ashworth@harbourfinch.example
}

// The answer to a refresh gets lost. Whoever sends the token again, because
// nothing came back, ends the authorisation.
func ExampleEmulator_Fault() {
	pleo := pleotest.NewServer()
	defer pleo.Close()
	authorisation, err := pleo.Issue("", "", "")
	if err != nil {
		panic(err)
	}
	pleo.Fault(pleotest.Fault{
		Endpoint:  pleotest.Token,
		GrantType: pleotest.RefreshToken,
		Drop:      pleotest.AfterProcessing,
	})

	for range 2 {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {authorisation.RefreshToken}}
		request, _ := http.NewRequest(http.MethodPost, pleo.AuthURL+"/oauth/token", strings.NewReader(form.Encode()))
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		request.SetBasicAuth(url.QueryEscape(pleo.ClientID), url.QueryEscape(pleo.ClientSecret))
		if response, err := http.DefaultClient.Do(request); err != nil {
			fmt.Println("no answer")
		} else {
			fmt.Println(response.Status)
			_ = response.Body.Close()
		}
	}

	fmt.Println("replays:", pleo.Counters().Replays)
	fmt.Println("connected:", pleo.Authorisations(pleotest.Target{})[0].Connected)
	// Output:
	// no answer
	// 400 Bad Request
	// replays: 1
	// connected: false
}

// The answer to a refresh has the whole pair and no last chunk: the connection
// ends with a RST instead. The old pair is dead, so a client has to use what it
// read.
func ExampleTransfer() {
	pleo := pleotest.NewServer()
	defer pleo.Close()
	authorisation, err := pleo.Issue("", "", "")
	if err != nil {
		panic(err)
	}
	pleo.Fault(pleotest.Fault{Endpoint: pleotest.Token, Transfer: pleotest.NoLastChunk, Reset: true})

	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {authorisation.RefreshToken}}
	request, _ := http.NewRequest(http.MethodPost, pleo.AuthURL+"/oauth/token", strings.NewReader(form.Encode()))
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(pleo.ClientID), url.QueryEscape(pleo.ClientSecret))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	var tokens struct {
		AccessToken string `json:"access_token"`
	}
	complete := json.Unmarshal(body, &tokens) == nil

	fmt.Println(response.Status)
	fmt.Println("reset by the server:", errors.Is(err, syscall.ECONNRESET))
	fmt.Println("complete:", complete && tokens.AccessToken == pleo.Authorisations(pleotest.Target{})[0].AccessToken)
	// Output:
	// 200 OK
	// reset by the server: true
	// complete: true
}

// The third request in a second is refused, with "Retry-After: 7".
func ExampleWithRateLimit() {
	pleo := pleotest.NewServer(pleotest.WithRateLimit(pleotest.RateLimit{Requests: 2, Wait: 7 * time.Second}))
	defer pleo.Close()

	for range 3 {
		response, err := http.Post(pleo.AuthURL+"/oauth/token", "application/x-www-form-urlencoded", nil)
		if err != nil {
			panic(err)
		}
		fmt.Println(response.StatusCode, response.Header.Get("Retry-After"))
		_ = response.Body.Close()
	}
	fmt.Println("refused:", pleo.Counters().TokenRequestsLimited)
}
