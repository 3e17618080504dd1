package pleoauth

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// recordFormat is the format of stored records that this version writes and
// reads. It changes only when an older version would misread a record.
const recordFormat = "1"

// The names of a stored record's fields.
const (
	fieldFormat          = "format"
	fieldIssuer          = "issuer"
	fieldClientID        = "client_id"
	fieldSeq             = "seq"
	fieldLineage         = "lineage"
	fieldGeneration      = "generation"
	fieldVersion         = "version"
	fieldState           = "state"
	fieldReason          = "reason"
	fieldGrant           = "grant"
	fieldSubject         = "subject"
	fieldObtained        = "obtained"
	fieldExpires         = "expires"
	fieldEpoch           = "epoch"
	fieldMark            = "mark"
	fieldAttempts        = "attempts"
	fieldNotBefore       = "not_before"
	fieldNotBeforeWait   = "not_before_wait"
	fieldNotBeforeReason = "not_before_reason"
	fieldFor401At        = "for_401_at"
	fieldIntrospection   = "introspection"
	fieldHeardActive     = "heard_active"
	fieldDue             = "due"
)

// EncodeRecord returns the stored form of a record: what every store keeps,
// field by field. Zero values are left out, numbers are decimal, times are
// Unix milliseconds, the sealed grant is standard base64 and the mark is JSON.
func EncodeRecord(r Record) map[string]string {
	f := recordFields{fieldFormat: recordFormat}
	f.text(fieldIssuer, r.Issuer)
	f.text(fieldClientID, r.ClientID)
	f.number(fieldSeq, r.Seq)
	f.text(fieldLineage, r.Lineage)
	f.number(fieldGeneration, r.Generation)
	f.text(fieldVersion, r.Version)
	f.text(fieldState, string(r.State))
	f.text(fieldReason, string(r.Reason))
	f.text(fieldGrant, base64.StdEncoding.EncodeToString(r.Sealed))
	f.text(fieldSubject, r.Subject)
	f.time(fieldObtained, r.Obtained)
	f.time(fieldExpires, r.Expires)
	f.text(fieldEpoch, r.Epoch)
	f.mark(fieldMark, r.Mark)
	f.number(fieldAttempts, int64(r.Attempts))
	f.time(fieldNotBefore, r.NotBefore)
	f.number(fieldNotBeforeWait, r.NotBeforeWait.Milliseconds())
	f.text(fieldNotBeforeReason, r.NotBeforeReason)
	f.time(fieldFor401At, r.For401At)
	f.text(fieldIntrospection, string(r.Introspection))
	f.time(fieldHeardActive, r.HeardActive)
	f.time(fieldDue, r.Due)
	return f
}

// DecodeRecord returns the record of a stored form, its times in UTC. It
// returns an error that wraps [ErrRecordUnreadable] and names the field, never
// its value, if the format is another one or a value is malformed. Fields that
// it does not know are passed over: a newer version may have written them.
func DecodeRecord(fields map[string]string) (Record, error) {
	if fields[fieldFormat] != recordFormat {
		return Record{}, unreadable(fieldFormat)
	}
	d := recordDecoder{fields: fields}
	r := Record{
		Issuer:          fields[fieldIssuer],
		ClientID:        fields[fieldClientID],
		Seq:             d.number(fieldSeq, 64),
		Lineage:         fields[fieldLineage],
		Generation:      d.number(fieldGeneration, 64),
		Version:         fields[fieldVersion],
		State:           d.state(fieldState),
		Reason:          Reason(fields[fieldReason]),
		Sealed:          d.bytes(fieldGrant),
		Subject:         fields[fieldSubject],
		Obtained:        d.time(fieldObtained),
		Expires:         d.time(fieldExpires),
		Epoch:           fields[fieldEpoch],
		Mark:            d.mark(fieldMark),
		Attempts:        int(d.number(fieldAttempts, strconv.IntSize)),
		NotBefore:       d.time(fieldNotBefore),
		NotBeforeWait:   time.Duration(d.number(fieldNotBeforeWait, 64)) * time.Millisecond,
		NotBeforeReason: fields[fieldNotBeforeReason],
		For401At:        d.time(fieldFor401At),
		Introspection:   Verdict(fields[fieldIntrospection]),
		HeardActive:     d.time(fieldHeardActive),
		Due:             d.time(fieldDue),
	}
	if d.err != nil {
		return Record{}, d.err
	}
	return r, nil
}

type recordFields map[string]string

func (f recordFields) text(field, value string) {
	if value != "" {
		f[field] = value
	}
}

func (f recordFields) number(field string, value int64) {
	if value != 0 {
		f[field] = strconv.FormatInt(value, 10)
	}
}

func (f recordFields) time(field string, value time.Time) {
	if !value.IsZero() {
		f[field] = strconv.FormatInt(value.UnixMilli(), 10)
	}
}

func (f recordFields) mark(field string, m *Mark) {
	if m == nil {
		return
	}
	text, err := json.Marshal(m)
	if err != nil {
		// Only a time beyond the year 9999 cannot be written, and no decision
		// reads that time: the mark itself must not be lost over it.
		bare := *m
		bare.Time = time.Time{}
		text, _ = json.Marshal(bare)
	}
	f[field] = string(text)
}

// recordDecoder remembers the first field that could not be read.
type recordDecoder struct {
	fields map[string]string
	err    error
}

func unreadable(field string) error {
	return fmt.Errorf("%w: field %s", ErrRecordUnreadable, field)
}

func (d *recordDecoder) fail(field string) {
	if d.err == nil {
		d.err = unreadable(field)
	}
}

func (d *recordDecoder) number(field string, bits int) int64 {
	value, ok := d.fields[field]
	if !ok {
		return 0
	}
	n, err := strconv.ParseInt(value, 10, bits)
	if err != nil {
		d.fail(field)
	}
	return n
}

func (d *recordDecoder) time(field string) time.Time {
	if _, ok := d.fields[field]; !ok {
		return time.Time{}
	}
	return time.UnixMilli(d.number(field, 64)).UTC()
}

func (d *recordDecoder) bytes(field string) []byte {
	value, ok := d.fields[field]
	if !ok {
		return nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(value)
	if err != nil {
		d.fail(field)
	}
	return b
}

func (d *recordDecoder) state(field string) State {
	switch s := State(d.fields[field]); s {
	case "", StateConnected, StateReauthorisationRequired, StateDisconnected:
		return s
	}
	// To take an unknown state for a known one could wipe or spend a grant.
	d.fail(field)
	return ""
}

func (d *recordDecoder) mark(field string) *Mark {
	value, ok := d.fields[field]
	if !ok {
		return nil
	}
	var m *Mark
	if err := json.Unmarshal([]byte(value), &m); err != nil || m == nil {
		d.fail(field)
		return nil
	}
	switch m.Kind {
	case MarkRefresh, MarkAuthorise, MarkUnknown:
		return m
	}
	d.fail(field)
	return nil
}
