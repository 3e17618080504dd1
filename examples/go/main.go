// Command go lists a company's employees, pages through its export items and
// uploads a receipt. It needs nothing but the standard library.
//
//	go run ./examples/go receipt.pdf
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"os"
	"time"
)

var (
	api    = cmp.Or(os.Getenv("PLEO_API"), "https://external.pleo.io")
	client = &http.Client{Timeout: time.Minute}
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("usage: go run ./examples/go receipt.pdf")
	}
	type employee struct{ FirstName, LastName string }
	for e, err := range items[employee](ctx, "/v2/employees") {
		if err != nil {
			return err
		}
		fmt.Println(e.FirstName, e.LastName)
	}

	count := 0
	for _, err := range items[json.RawMessage](ctx, "/v3/export-items") {
		if err != nil {
			return err
		}
		count++
	}
	fmt.Println("export items:", count)

	file, err := os.Open(args[0])
	if err != nil {
		return err
	}
	defer file.Close()
	var receipt struct{ Data struct{ ID string } }
	if err := call(ctx, http.MethodPost, "/v1/receipts", file, &receipt); err != nil {
		return err
	}
	fmt.Println("receipt:", receipt.Data.ID)
	return nil
}

// items yields those of every page.
func items[T any](ctx context.Context, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		query := url.Values{"limit": {"100"}}
		for {
			var page struct {
				Data       []T
				Pagination struct {
					HasNextPage bool
					EndCursor   string
				}
			}
			if err := call(ctx, http.MethodGet, path+"?"+query.Encode(), nil, &page); err != nil {
				yield(*new(T), err)
				return
			}
			for _, item := range page.Data {
				if !yield(item, nil) {
					return
				}
			}
			if !page.Pagination.HasNextPage {
				return
			}
			query.Set("after", page.Pagination.EndCursor)
		}
	}
}

func call(ctx context.Context, method, path string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, api+path, body)
	if err != nil {
		return err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/pdf")
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s", res.Status, answer)
	}
	return json.Unmarshal(answer, into)
}
