package pleoauth

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"
)

// ConnectionInfo is what may be told of a connection: never a token.
type ConnectionInfo struct {
	Name       string `json:"name"`
	State      State  `json:"state"`
	Reason     Reason `json:"reason,omitempty"`
	Subject    string `json:"subject,omitempty"`
	Generation int64  `json:"generation"`
	// ObtainedAt and ExpiresAt are on the store's clock, for people.
	ObtainedAt time.Time `json:"obtained_at,omitzero"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	// Attempts counts failed refreshes since the last one that worked.
	Attempts int `json:"attempts,omitempty"`
	// LastError is one of the error codes of a problem document.
	LastError string `json:"last_error,omitempty"`
	// FailingSince is since when calls have been failing: the access token has ended,
	// and refreshes do not work. It is zero while calls are served.
	FailingSince time.Time `json:"failing_since,omitzero"`
	// KeyMissing is set if no configured key opens the grant: calls fail until one does.
	KeyMissing bool `json:"key_missing,omitempty"`
	// MissingScopes are those that the configuration asks for, and that Pleo has not
	// granted.
	MissingScopes []string `json:"missing_scopes,omitempty"`
	// Unsettled is set while a refresh may or may not have been processed.
	Unsettled bool `json:"unsettled,omitempty"`
	// Unpinned is set while it is not known which company a connected connection
	// belongs to, because Pleo could not be asked when it was authorised.
	Unpinned bool `json:"unpinned,omitempty"`
	// Introspection is "unusable" while Pleo's introspection calls refresh tokens
	// of this connection inactive that it has just issued, and "" otherwise.
	Introspection string `json:"introspection,omitempty"`
	// KeyID names the encryption key that the grant is sealed with.
	KeyID string `json:"key_id,omitempty"`
}

// Connection returns what the store has of one connection. The error is a
// [*TokenError]: [ErrNotConnected] if there is no record.
func (s *Source) Connection(ctx context.Context, name string) (ConnectionInfo, error) {
	if err := CheckConnection(name); err != nil {
		return ConnectionInfo{}, err
	}
	if err := ctx.Err(); err != nil {
		return ConnectionInfo{}, err
	}
	snap, err := s.read(name)
	if err != nil {
		return ConnectionInfo{}, s.storeError(name, err)
	}
	if snap.State == "" {
		return ConnectionInfo{}, &TokenError{Kind: ErrNotConnected, Connection: name}
	}
	return s.infoOf(name, snap), nil
}

func (s *Source) infoOf(name string, snap Snapshot) ConnectionInfo {
	info := ConnectionInfo{
		Name: name, State: snap.State, Reason: snap.Reason, Subject: snap.Subject, Generation: snap.Generation,
		ObtainedAt: snap.Obtained, ExpiresAt: snap.Expires,
		Attempts: snap.Attempts, LastError: snap.NotBeforeReason,
		Unsettled:     snap.State == StateConnected && snap.Marked() != nil,
		Introspection: unusable(snap.Introspection),
		Unpinned:      snap.State == StateConnected && snap.Subject == "",
		KeyID:         sealedWith(snap.Sealed),
	}
	if snap.State != StateConnected {
		return info
	}
	// An answer mostly takes a moment. What ends without one leaves no reason in the record.
	mark := snap.Marked()
	late := mark != nil && !mark.Time.IsZero() && time.Since(mark.Time) > s.config().RefreshTimeout/2
	if info.LastError == "" && (snap.Attempts > 0 || late) {
		if info.LastError = reasonRefreshFailed; info.Unsettled {
			info.LastError = reasonRefreshUnsettled
		}
	}
	if (snap.Attempts > 0 || late) && snap.Remaining(snap.Expires) <= 0 {
		info.FailingSince = snap.Expires
	}
	g, err := s.openGrant(name, snap.Sealed)
	if sealed := new(SealedError); errors.As(err, &sealed) {
		info.KeyMissing = sealed.Missing
	} else if err == nil {
		info.MissingScopes = missingScopes(s.config().Scopes, g.Scope)
	}
	return info
}

// missingScopes returns which of the scopes that were asked for are not among those that
// were granted. Where a server does not tell (RFC 6749, section 5.1), all were.
func missingScopes(asked []string, granted string) []string {
	if granted == "" {
		return nil
	}
	var missing []string
	for _, scope := range asked {
		if !slices.Contains(strings.Fields(granted), scope) {
			missing = append(missing, scope)
		}
	}
	return missing
}

// unusable returns what [ConnectionInfo] says of a verdict.
func unusable(v Verdict) string {
	if v == VerdictAccessTokens || v == VerdictUnusable {
		return "unusable"
	}
	return ""
}

// Connections returns a page of connections in a stable order, and the cursor
// of the next page, "" after the last. A record that is of another format or
// another client's is listed by its name, without a state. The error wraps
// [ErrInvalidCursor] or [ErrStoreUnavailable].
func (s *Source) Connections(ctx context.Context, cursor string, limit int) ([]ConnectionInfo, string, error) {
	names, next, err := s.store.List(ctx, cursor, limit)
	if errors.Is(err, ErrInvalidCursor) {
		return nil, "", err // the caller's fault, not the store's
	}
	s.storeAnswered(StoreList, err)
	if err != nil {
		return nil, "", storeFailed(s.reasoned(err))
	}
	infos := make([]ConnectionInfo, 0, len(names))
	for _, name := range names {
		info, err := s.Connection(ctx, name)
		if errors.Is(err, ErrNotConnected) || errors.Is(err, ErrInvalidConnection) {
			continue // gone meanwhile, or nothing that we have written
		}
		if errors.Is(err, ErrRecordUnreadable) || errors.Is(err, ErrForeignRecord) {
			info, err = ConnectionInfo{Name: name, LastError: "store-unavailable"}, nil // the others are still to be seen
		}
		if err != nil {
			return nil, "", err
		}
		infos = append(infos, info)
	}
	return infos, next, nil
}

// Disconnect wipes a connection's tokens and leaves a tombstone, so that no
// replica brings an older grant back, nor an authorisation that is under way a new
// one. The error is a [*TokenError]: [ErrNotConnected] if there is no record.
func (s *Source) Disconnect(ctx context.Context, name string) error {
	if err := CheckConnection(name); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	subscription := s.subscription.Load()
	snap, err := s.read(name)
	if err != nil {
		return s.storeError(name, err)
	}
	if snap.State == "" && snap.Marked() == nil {
		return &TokenError{Kind: ErrNotConnected, Connection: name}
	}
	after, err := s.apply(name, snap, writeDisconnect(random128(), time.Now()))
	if err != nil {
		return s.storeError(name, err)
	}
	s.logger().Info("connection disconnected", "connection", name, "generation", after.Generation)
	if c := s.conns.get(name); c != nil {
		_, err = s.adopt(c, after, subscription)
	}
	return err
}

// Refresh has a connection's grant refreshed now, and waits for it as a call
// would. It is what a person asks for: a wait that Pleo has named, or that failed
// refreshes have come to, does not hold it back. A mark does.
func (s *Source) Refresh(ctx context.Context, name string) error {
	if err := CheckConnection(name); err != nil {
		return err
	}
	s.Start()
	c := s.connection(name)
	c.touch(time.Now())
	v, err := s.current(ctx, c)
	if err != nil {
		return err
	}
	if v.state != StateConnected {
		return v.ended(name)
	}
	if err := s.awaitFlight(ctx, c, s.startRefresh(ctx, c, v.version, v.dead, true)); err != nil {
		return err
	}
	_, err = s.Token(ctx, name) // what the refresh came to may be the grant's end
	return err
}

// keepAliveIn is when a grant is to be refreshed although nobody uses it:
// spread, so that connections made together are not refreshed together.
func (s *Source) keepAliveIn() time.Duration {
	return s.config().KeepAlive - s.spread(s.config().KeepAlive/10)
}
