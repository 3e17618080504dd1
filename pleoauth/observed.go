package pleoauth

// The values that an [Observer] is told: fixed sets, so that they can be labels.

// RefreshResult is what came of a refresh.
type RefreshResult string

// The results of a refresh.
const (
	// RefreshStored: Pleo issued a new pair. It is stored, or held until it is.
	RefreshStored RefreshResult = "stored"
	// RefreshTerminal: Pleo said that the grant has ended.
	RefreshTerminal RefreshResult = "terminal"
	// RefreshNotSent: the token provably did not leave the process.
	RefreshNotSent RefreshResult = "not_sent"
	// RefreshRateLimited: Pleo answered 429.
	RefreshRateLimited RefreshResult = "rate_limited"
	// RefreshMisconfigured: Pleo refused the client id or secret.
	RefreshMisconfigured RefreshResult = "misconfigured"
	// RefreshAmbiguous: it may or may not have been processed.
	RefreshAmbiguous RefreshResult = "ambiguous"
)

// RefreshResults returns all of them.
func RefreshResults() []RefreshResult {
	return []RefreshResult{
		RefreshStored, RefreshTerminal, RefreshNotSent, RefreshRateLimited, RefreshMisconfigured, RefreshAmbiguous,
	}
}

// RefreshAfter is what was known of the token when it was sent.
type RefreshAfter string

const (
	// AfterNothing: it had not been sent before.
	AfterNothing RefreshAfter = "none"
	// AfterActive: an attempt before was ambiguous, and Pleo had just called
	// the token active. A terminal answer then means that Pleo processed the
	// first attempt after all: a replay.
	AfterActive RefreshAfter = "active"
)

// RefreshAfters returns all of them.
func RefreshAfters() []RefreshAfter { return []RefreshAfter{AfterNothing, AfterActive} }

// SettleResult is what Pleo says of a token that may have been spent.
type SettleResult string

// The results of settling.
const (
	// SettledActive: it was not spent, as far as Pleo knows by now.
	SettledActive SettleResult = "active"
	// SettledInactive: it was spent. Whoever has the new pair is asked for it.
	SettledInactive SettleResult = "inactive"
	// SettledUnknown: Pleo did not say.
	SettledUnknown SettleResult = "unknown"
	// SettledLostResponse: it was spent, and nobody has the new pair. The
	// connection has to be authorised again.
	SettledLostResponse SettleResult = "lost_response"
)

// SettleResults returns all of them.
func SettleResults() []SettleResult {
	return []SettleResult{SettledActive, SettledInactive, SettledUnknown, SettledLostResponse}
}

// RefusalCause is why the API refused a token.
type RefusalCause string

// The causes of a refusal.
const (
	// RefusalReplaced: it was not the current one any more.
	RefusalReplaced RefusalCause = "replaced"
	// RefusalAlive: Pleo says that it is good; the refusal is about the call.
	RefusalAlive RefusalCause = "alive"
	// RefusalDead: Pleo says that it is dead, before its time.
	RefusalDead RefusalCause = "dead"
	// RefusalUnknown: it could not be found out.
	RefusalUnknown RefusalCause = "unknown"
)

// RefusalCauses returns all of them.
func RefusalCauses() []RefusalCause {
	return []RefusalCause{RefusalReplaced, RefusalAlive, RefusalDead, RefusalUnknown}
}

// MissCause is what a call had to wait for.
type MissCause string

// What calls wait for.
const (
	MissStore   MissCause = "store"
	MissRefresh MissCause = "refresh"
)

// MissCauses returns all of them.
func MissCauses() []MissCause { return []MissCause{MissStore, MissRefresh} }

// SweepResult is how a sweep ended.
type SweepResult string

// The results of a sweep.
const (
	SweepDone   SweepResult = "done"
	SweepFailed SweepResult = "failed"
)

// SweepResults returns all of them.
func SweepResults() []SweepResult { return []SweepResult{SweepDone, SweepFailed} }

// StoreOperation is what the store was asked to do.
type StoreOperation string

// The operations of a [Store], in their order there.
const (
	StoreRead     StoreOperation = "read"
	StoreSwap     StoreOperation = "swap"
	StoreLock     StoreOperation = "lock"
	StoreRenew    StoreOperation = "renew"
	StoreWatch    StoreOperation = "watch"
	StorePublish  StoreOperation = "publish"
	StorePutFlow  StoreOperation = "put_flow"
	StoreFlow     StoreOperation = "flow"
	StoreTakeFlow StoreOperation = "take_flow"
	StoreList     StoreOperation = "list"
	StoreDue      StoreOperation = "due"
	StorePing     StoreOperation = "ping"
)

// StoreOperations returns all of them.
func StoreOperations() []StoreOperation {
	return []StoreOperation{
		StoreRead, StoreSwap, StoreLock, StoreRenew, StoreWatch, StorePublish,
		StorePutFlow, StoreFlow, StoreTakeFlow, StoreList, StoreDue, StorePing,
	}
}

// AuthorisationResult is how a user's way through Pleo ended.
type AuthorisationResult string

// The results of an authorisation.
const (
	AuthorisationConnected        AuthorisationResult = "connected"
	AuthorisationDenied           AuthorisationResult = "denied"
	AuthorisationUnknownFlow      AuthorisationResult = "unknown_flow"
	AuthorisationOtherBrowser     AuthorisationResult = "other_browser"
	AuthorisationInvalidTicket    AuthorisationResult = "invalid_ticket"
	AuthorisationOtherSubject     AuthorisationResult = "other_subject"
	AuthorisationExchangeFailed   AuthorisationResult = "exchange_failed"
	AuthorisationClientRejected   AuthorisationResult = "client_rejected"
	AuthorisationStoreUnavailable AuthorisationResult = "store_unavailable"
	AuthorisationPending          AuthorisationResult = "pending"
	AuthorisationSuperseded       AuthorisationResult = "superseded"
	AuthorisationSubjectUnknown   AuthorisationResult = "subject_unknown"
)

// AuthorisationResults returns all of them.
func AuthorisationResults() []AuthorisationResult {
	return []AuthorisationResult{
		AuthorisationConnected, AuthorisationDenied, AuthorisationUnknownFlow, AuthorisationOtherBrowser,
		AuthorisationInvalidTicket, AuthorisationOtherSubject, AuthorisationExchangeFailed, AuthorisationClientRejected, AuthorisationStoreUnavailable,
		AuthorisationPending, AuthorisationSuperseded, AuthorisationSubjectUnknown,
	}
}
