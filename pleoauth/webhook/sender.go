package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
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
)

// sender posts messages to one receiver.
type sender struct {
	url     string
	signers []*standardwebhooks.Webhook
	timeout time.Duration
	client  *http.Client
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
	transport := c.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			MaxIdleConns:           atOnce,
			IdleConnTimeout:        idleLife,
			TLSHandshakeTimeout:    c.Timeout,
			MaxResponseHeaderBytes: maxAnswer,
		}
	}
	s.client = &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// close lets go of connections that are not in use.
func (s *sender) close() { s.client.CloseIdleConnections() }

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

func (s *sender) post(req *http.Request) error {
	res, err := s.client.Do(req)
	if err != nil {
		return withoutURL(err)
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

// withoutURL takes the URL off an error of net/http: part of it may be secret.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" {
		return fmt.Errorf("%w: %w", errUndelivered, err)
	}
	return err
}
