package redisstore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// longestReason bounds what is taken over of an answer of Redis, in bytes.
const longestReason = 200

// Reason returns why an operation has failed with err: what Redis has answered, or
// what became of the connection. See [pleoauth.StoreReasoner].
func (s *Store) Reason(err error) pleoauth.StoreReason {
	if answer, ok := errors.AsType[redis.Error](err); ok {
		return answered(answer.Error(), s.client.cluster != nil)
	}
	text := unreachable(err)
	if text == late && s.options.TLS != nil {
		text += "; does it speak TLS?" // Redis waits for more of what it takes for a command
	}
	return pleoauth.StoreReason{Code: pleoauth.CodeUnreachable, Text: text, Whole: true}
}

// inScript finds the code of an error that a command in a script has met, which older
// servers put behind words of their own.
var inScript = regexp.MustCompile(`-([A-Z]{3,} .*)$`)

// code is what errors of Redis begin with, if it is not ERR.
var code = regexp.MustCompile(`^[A-Z]{3,}\b`)

// answered is the reason in an error that Redis has answered with.
func answered(text string, cluster bool) pleoauth.StoreReason {
	if m := inScript.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	text, _, _ = strings.Cut(text, "\n")
	text, _, _ = strings.Cut(text, " script: ") // where it was in the script
	if len(text) > longestReason {
		text = text[:longestReason] + "…"
	}
	r := pleoauth.StoreReason{Code: code.FindString(text), Text: strings.TrimSuffix(text, ",")}
	r.Whole = slices.Contains([]string{"BUSY", "LOADING", "NOAUTH", "WRONGPASS"}, r.Code)
	switch {
	case r.Code == "MOVED" || r.Code == "ASK":
		r.Text = r.Code + ": another server has this key" // the rest is an address
		if !cluster {
			r.Text += "; this one belongs to a Cluster, and the option cluster is missing"
		}
	case strings.HasPrefix(text, "ERR The user executing the script"):
		r.Code = "NOPERM"
	case strings.HasPrefix(text, "ERR unknown command"):
		r.Code = pleoauth.CodeUnknownCommand
		r.Text, _, _ = strings.Cut(text, ", with args")
	case r.Code == "" || r.Code == "ERR":
		r.Code = pleoauth.CodeRefused
	}
	return r
}

const late = "it does not answer in time"

// unreachable says in a few words, and without an address, what became of a connection.
func unreachable(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var remote *net.OpError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	switch {
	case errors.As(err, &dns):
		return "its name cannot be resolved"
	case errors.As(err, &authority):
		return "TLS: its certificate is signed by an unknown authority"
	case errors.As(err, &host):
		return "TLS: its certificate is for another name"
	case errors.As(err, &certificate):
		return "TLS: " + certificate.Err.Error()
	case errors.As(err, &record):
		return "TLS: it does not speak TLS"
	case errors.As(err, &remote) && remote.Op == "remote error": // as crypto/tls calls an alert
		return "TLS: it answers: " + remote.Err.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return late
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it has closed the connection"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no route to it"
	}
	return "the connection failed"
}

// Interface guards
var (
	_ pleoauth.StoreReasoner = (*Store)(nil)
)
