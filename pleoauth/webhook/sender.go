package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	// maxAnswer bounds what is read of an answer, which nobody looks at: that the
	// connection can be used again is worth no more.
	maxAnswer = 16 << 10
	// idleLife is how long an unused connection to the receiver is kept.
	idleLife  = 30 * time.Second
	userAgent = "pleo-auth-proxy"
)

var (
	// errGone is returned when the receiver wants no more messages.
	errGone = errors.New("the receiver answered 410 Gone")
	// errUndelivered is returned when the receiver certainly has not taken it.
	errUndelivered = errors.New("not delivered")
	// errPlain is returned when a message would go to another machine in the clear.
	errPlain = errors.New("the URL is plain HTTP, and its name leads to another machine")
)

// sender posts messages to one receiver.
type sender struct {
	url       string
	signers   []*standardwebhooks.Webhook
	timeout   time.Duration
	transport http.RoundTripper
}

func newSender(c Config) (*sender, error) {
	s := &sender{url: c.URL, timeout: c.Timeout}
	for _, secret := range c.Secrets {
		signer, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return nil, fmt.Errorf("%w: secret is not base64", ErrConfig)
		}
		s.signers = append(s.signers, signer)
	}
	if s.transport = c.Transport; s.transport == nil {
		s.transport = newTransport(c)
	}
	return s, nil
}

func newTransport(c Config) *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           atOnce,
		IdleConnTimeout:        idleLife,
		TLSHandshakeTimeout:    c.Timeout,
		MaxResponseHeaderBytes: maxAnswer,
	}
	if strings.HasPrefix(strings.ToLower(c.URL), "http:") {
		t.Proxy = nil
		t.DialContext = (&net.Dialer{Control: onlyLoopback}).DialContext
	}
	return t
}

// onlyLoopback is a [net.Dialer.Control]: it sees the address that a name has
// become, before anything is sent there.
func onlyLoopback(_, address string, _ syscall.RawConn) error {
	if peer, err := netip.ParseAddrPort(address); err != nil || !peer.Addr().Unmap().IsLoopback() {
		return errPlain
	}
	return nil
}

// close lets go of connections that are not in use.
func (s *sender) close() {
	if t, ok := s.transport.(interface{ CloseIdleConnections() }); ok {
		t.CloseIdleConnections()
	}
}

// send posts an event once. nil: the receiver has taken it. An error that wraps
// errUndelivered says that it has not; any other but errGone, that nobody knows.
func (s *sender) send(ctx context.Context, e Event) error {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	body, err := e.payload()
	if err != nil {
		return fmt.Errorf("%w: %w", errUndelivered, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: the URL cannot be used", errUndelivered)
	}
	req.GetBody = nil // what is sent again is sent by the worker, which counts
	now := time.Now()
	signatures := make([]string, len(s.signers))
	for i, signer := range s.signers {
		if signatures[i], err = signer.Sign(e.ID, now, body); err != nil {
			return fmt.Errorf("%w: signing: %w", errUndelivered, err)
		}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set(standardwebhooks.HeaderWebhookID, e.ID)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	return s.post(req)
}

// post makes one exchange. It has no use for an [http.Client]: that would read the
// target of a redirect, and repeat it and the URL, part of which may be secret, in
// its errors.
func (s *sender) post(req *http.Request) error {
	res, err := s.transport.RoundTrip(req)
	if err != nil {
		return withoutSending(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return nil
	case res.StatusCode == http.StatusGone:
		return errGone
	}
	return fmt.Errorf("%w: the receiver answered %d", errUndelivered, res.StatusCode)
}

// withoutSending has an error know that nothing was sent, where that is certain.
func withoutSending(err error) error {
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return fmt.Errorf("%w: %w", errUndelivered, err)
	}
	return err
}
