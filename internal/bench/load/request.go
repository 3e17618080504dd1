//go:build linux

package load

import (
	"bytes"
	"fmt"
)

// Request is what a call asks for.
type Request struct {
	head, body []byte
}

// NewRequest returns a request for path. token, if not empty, is what it
// authorises itself with; body is sent with a POST, nil with a GET.
func NewRequest(path, token string, body []byte) *Request {
	method := "GET"
	if body != nil {
		method = "POST"
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bench\r\nAccept: application/json\r\n", method, path)
	if token != "" {
		fmt.Fprintf(&head, "Authorization: Bearer %s\r\n", token)
	}
	if body != nil {
		fmt.Fprintf(&head, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return &Request{head: head.Bytes(), body: body}
}

func (r *Request) appendTo(b []byte, connection string) []byte {
	b = append(b, r.head...)
	if connection != "" {
		b = append(append(append(b, "Pleo-Connection: "...), connection...), "\r\n"...)
	}
	return append(append(b, "\r\n"...), r.body...)
}
