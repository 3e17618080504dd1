package pleoauth

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEachEndOfAnAuthorisationIsCountedAsWhatItIs(t *testing.T) {
	results := map[AuthorisationResult]error{
		AuthorisationConnected:        nil,
		AuthorisationDenied:           ErrDenied,
		AuthorisationUnknownFlow:      ErrUnknownFlow,
		AuthorisationOtherBrowser:     ErrOtherBrowser,
		AuthorisationInvalidTicket:    ErrInvalidTicket,
		AuthorisationOtherSubject:     ErrOtherSubject,
		AuthorisationExchangeFailed:   ErrExchangeFailed,
		AuthorisationClientRejected:   ErrClientRejected,
		AuthorisationStoreUnavailable: ErrStoreUnavailable,
		AuthorisationPending:          ErrAuthorisationPending,
		AuthorisationSuperseded:       ErrSuperseded,
		AuthorisationSubjectUnknown:   ErrSubjectUnknown,
	}
	for _, result := range AuthorisationResults() {
		err, there := results[result]
		require.True(t, there, result)
		if err != nil {
			err = fmt.Errorf("completing: %w", err)
		}
		require.Equal(t, result, authorisationResult(err))
	}
	require.Len(t, results, len(AuthorisationResults()))
}
