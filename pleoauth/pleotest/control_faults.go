package pleotest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// wireDuration is a duration that JSON spells as a text, such as "500ms".
type wireDuration time.Duration

func (d wireDuration) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

func (d *wireDuration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = wireDuration(parsed)
	return err
}

// wireFault is a [Fault] as JSON.
type wireFault struct {
	Endpoint             Endpoint                   `json:"endpoint,omitempty"`
	GrantType            string                     `json:"grant_type,omitempty"`
	ClientID             string                     `json:"client_id,omitempty"`
	Company              string                     `json:"company,omitempty"`
	Kind                 TokenKind                  `json:"kind,omitempty"`
	Method               string                     `json:"method,omitempty"`
	Path                 string                     `json:"path,omitempty"`
	Skip                 int                        `json:"skip,omitempty"`
	Times                int                        `json:"times,omitempty"`
	DelayBefore          wireDuration               `json:"delay_before,omitempty"`
	DelayAfter           wireDuration               `json:"delay_after,omitempty"`
	Hold                 Stage                      `json:"hold,omitempty"`
	Drop                 Stage                      `json:"drop,omitempty"`
	Transfer             Transfer                   `json:"transfer,omitempty"`
	Reset                bool                       `json:"reset,omitempty"`
	GoAway               bool                       `json:"go_away,omitempty"`
	Status               int                        `json:"status,omitempty"`
	Header               http.Header                `json:"header,omitempty"`
	Body                 string                     `json:"body,omitempty"`
	Process              Processing                 `json:"process,omitempty"`
	ProcessAfter         wireDuration               `json:"process_after,omitempty"`
	Set                  map[string]json.RawMessage `json:"set,omitempty"`
	Omit                 []string                   `json:"omit,omitempty"`
	Pad                  map[string]Padding         `json:"pad,omitempty"`
	Prefix               string                     `json:"prefix,omitempty"`
	Suffix               string                     `json:"suffix,omitempty"`
	Gzip                 bool                       `json:"gzip,omitempty"`
	AccessDeadOnArrival  bool                       `json:"access_dead_on_arrival,omitempty"`
	RefreshDeadOnArrival bool                       `json:"refresh_dead_on_arrival,omitempty"`
	Lag                  wireDuration               `json:"lag,omitempty"`
}

// MarshalJSON spells a fault as the control handler takes it: members in
// snake_case, durations as texts. Match is left out.
func (f Fault) MarshalJSON() ([]byte, error) {
	w := wireFault{
		f.Endpoint, f.GrantType, f.ClientID, f.Company, f.Kind, f.Method, f.Path, f.Skip, f.Times,
		wireDuration(f.DelayBefore), wireDuration(f.DelayAfter), f.Hold, f.Drop, f.Transfer, f.Reset, f.GoAway,
		f.Status, f.Header, f.Body, f.Process, wireDuration(f.ProcessAfter), nil, f.Omit,
		f.Pad, f.Prefix, f.Suffix, f.Gzip,
		f.AccessDeadOnArrival, f.RefreshDeadOnArrival, wireDuration(f.Lag),
	}
	for name, value := range f.Set {
		encoded, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("set %q: %w", name, err)
		}
		if w.Set == nil {
			w.Set = map[string]json.RawMessage{}
		}
		w.Set[name] = encoded
	}
	return json.Marshal(w)
}

func (w *wireFault) fault() Fault {
	f := Fault{
		Endpoint: w.Endpoint, GrantType: w.GrantType, ClientID: w.ClientID, Company: w.Company, Kind: w.Kind,
		Method: w.Method, Path: w.Path, Skip: w.Skip, Times: w.Times,
		DelayBefore: time.Duration(w.DelayBefore), DelayAfter: time.Duration(w.DelayAfter),
		Hold: w.Hold, Drop: w.Drop, Transfer: w.Transfer, Reset: w.Reset, GoAway: w.GoAway,
		Status: w.Status, Header: w.Header, Body: w.Body,
		Process: w.Process, ProcessAfter: time.Duration(w.ProcessAfter),
		Omit: w.Omit, Pad: w.Pad, Prefix: w.Prefix, Suffix: w.Suffix, Gzip: w.Gzip,
		AccessDeadOnArrival: w.AccessDeadOnArrival, RefreshDeadOnArrival: w.RefreshDeadOnArrival,
		Lag: time.Duration(w.Lag),
	}
	for name, value := range w.Set {
		if f.Set == nil {
			f.Set = map[string]any{}
		}
		f.Set[name] = value
	}
	return f
}

func (e *Emulator) postFault(w http.ResponseWriter, r *http.Request) {
	var body wireFault
	if !decode(w, r, &body) {
		return
	}
	active, err := e.setFault(body.fault())
	if err != nil {
		complain(w, http.StatusBadRequest, err)
		return
	}
	writeUncached(w, http.StatusCreated, map[string]string{"id": active.ID})
}

func (e *Emulator) onFault(do func(*ActiveFault)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		active := e.faultByID(r.PathValue("id"))
		if active == nil {
			complain(w, http.StatusNotFound, fmt.Errorf("there is no fault %q", r.PathValue("id")))
			return
		}
		do(active)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (e *Emulator) faultByID(id string) *ActiveFault {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, active := range e.faults {
		if active.ID == id {
			return active
		}
	}
	return nil
}

// faultReport is a fault in the control handler's list.
type faultReport struct {
	ID      string `json:"id"`
	Fault   Fault  `json:"fault"`
	Hits    int    `json:"hits"`
	Reached bool   `json:"reached"`
	Removed bool   `json:"removed,omitempty"`
}

func (e *Emulator) listFaults() []faultReport {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := make([]faultReport, 0, len(e.faults))
	for _, active := range e.faults {
		report := faultReport{ID: active.ID, Fault: active.fault, Hits: active.hits, Removed: active.removed}
		select {
		case <-active.reached:
			report.Reached = true
		default:
		}
		list = append(list, report)
	}
	return list
}
