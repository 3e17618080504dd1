package pleoauth

import (
	"maps"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func fullRecord() Record {
	at := time.Date(2026, 11, 22, 1, 2, 3, 4_000_000, time.UTC)
	return Record{
		Issuer: "https://auth.pleo.io", ClientID: "client", Seq: 1790000000000, Generation: 42,
		Lineage: "0123456789abcdef", Version: "fedcba9876543210",
		State: StateReauthorisationRequired, Reason: ReasonLostResponse,
		Sealed: []byte{0, 1, 2, 0xff, '\n'}, Subject: "urn:pleo:company:<é&>\"\\",
		Obtained: at, Expires: at.Add(time.Hour), Epoch: "run",
		Mark: &Mark{
			Nonce: "nonce", Version: "fedcba9876543210", Kind: MarkRefresh, Life: 15 * time.Second,
			Attempt: 3, Replica: "pod-1", Time: at,
		},
		Attempts: 7, NotBefore: at.Add(time.Minute), NotBeforeWait: time.Minute, NotBeforeReason: "refresh-failed",
		For401At: at.Add(-time.Minute), Introspection: VerdictUsable, HeardActive: at.Add(-time.Second), Due: at.Add(30 * 24 * time.Hour),
	}
}

func TestRecordSurvivesItsStoredForm(t *testing.T) {
	for name, r := range map[string]Record{"full": fullRecord(), "zero": {}, "mark only": {Mark: &Mark{Nonce: "n", Kind: MarkAuthorise}}} {
		t.Run(name, func(t *testing.T) {
			got, err := DecodeRecord(EncodeRecord(r))
			require.NoError(t, err)
			require.Equal(t, r, got)
		})
	}
}

func TestStoredFormLeavesOutZeroValues(t *testing.T) {
	require.Equal(t, map[string]string{"format": "1"}, EncodeRecord(Record{}))
}

func TestStoredFormHasTheFieldsOfTheProtocol(t *testing.T) {
	fields := EncodeRecord(fullRecord())
	for _, name := range []string{
		"format", "issuer", "client_id", "seq", "lineage", "generation", "version", "state", "reason", "grant",
		"subject", "obtained", "expires", "epoch", "mark", "attempts", "not_before", "not_before_wait", "not_before_reason", "for_401_at",
		"introspection", "heard_active", "due",
	} {
		require.NotEmpty(t, fields[name], name)
		delete(fields, name)
	}
	require.Empty(t, fields)
}

func TestUnknownFieldsArePassedOver(t *testing.T) {
	fields := EncodeRecord(fullRecord())
	fields["from_a_newer_version"] = "x"
	got, err := DecodeRecord(fields)
	require.NoError(t, err)
	require.Equal(t, fullRecord(), got)
}

func TestMalformedFieldIsNamedAndItsValueIsNot(t *testing.T) {
	const secret = "s3cr3t"
	for _, field := range []string{
		"format", "seq", "generation", "state", "grant", "obtained", "expires", "mark", "attempts", "not_before", "for_401_at", "heard_active", "due",
	} {
		t.Run(field, func(t *testing.T) {
			fields := EncodeRecord(fullRecord())
			fields[field] = secret + "!"
			_, err := DecodeRecord(fields)
			require.ErrorIs(t, err, ErrRecordUnreadable)
			require.ErrorContains(t, err, field)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestMarkThatCannotBeUnderstoodIsNotTakenForNone(t *testing.T) {
	for _, mark := range []string{``, `null`, `[]`, `{}`, `{"kind":"other"}`, `{"kind":"refresh","life":"x"}`} {
		_, err := DecodeRecord(map[string]string{"format": "1", "mark": mark})
		require.ErrorIs(t, err, ErrRecordUnreadable, mark)
	}
}

func TestMarkOutlivesATimeThatCannotBeWritten(t *testing.T) {
	r := Record{Mark: &Mark{Nonce: "n", Kind: MarkRefresh, Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)}}
	got, err := DecodeRecord(EncodeRecord(r))
	require.NoError(t, err)
	require.Equal(t, "n", got.Mark.Nonce)
}

func FuzzDecodeRecord(f *testing.F) {
	full := EncodeRecord(fullRecord())
	f.Add("state", full["state"], full["mark"])
	f.Add("grant", "AAE=", `{"kind":"unknown"}`)
	f.Add("seq", "-1", `{"kind":"refresh","life":-5,"time":"2026-01-01T00:00:00Z"}`)
	f.Fuzz(func(t *testing.T, field, value, mark string) {
		fields := maps.Clone(full)
		fields["mark"] = mark
		fields[field] = value
		r, err := DecodeRecord(fields)
		if err != nil {
			require.ErrorIs(t, err, ErrRecordUnreadable)
			require.Equal(t, Record{}, r)
			return
		}
		again, err := DecodeRecord(EncodeRecord(r))
		require.NoError(t, err)
		require.Equal(t, EncodeRecord(r), EncodeRecord(again))
	})
}
