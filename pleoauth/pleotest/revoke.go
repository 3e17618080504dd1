package pleotest

import "time"

// Target selects tokens. Its fields narrow it together; the zero value is
// everything.
type Target struct {
	// Authorisation is an [Authorisation]'s ID.
	Authorisation string `json:"authorisation,omitempty"`
	// Company is a company's id, URN or name.
	Company string `json:"company,omitempty"`
	// ClientID is a client's id.
	ClientID string `json:"client_id,omitempty"`
	// Token is one token.
	Token string `json:"token,omitempty"`
	// Kind is [AccessToken] or [RefreshToken]; empty for both.
	Kind TokenKind `json:"kind,omitempty"`
}

func (t Target) family(f *family) bool {
	company, known := findCompany(t.Company)
	return (t.Authorisation == "" || t.Authorisation == f.ID) &&
		(t.ClientID == "" || t.ClientID == f.ClientID) &&
		(t.Company == "" || known && company.URN() == f.Company)
}

// Revoke ends the selected live tokens, as a customer does who removes an
// integration, and returns how many there were. With Kind it ends an access
// token under a connection that goes on, or the other way round.
func (e *Emulator) Revoke(target Target) int { return e.end(target, deathRevoked) }

// Expire ends the selected live tokens as if their time had come, and returns
// how many there were.
func (e *Emulator) Expire(target Target) int { return e.end(target, deathExpired) }

func (e *Emulator) end(target Target, why death) (ended int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	for _, f := range e.families {
		if !target.family(f) {
			continue
		}
		if target.Token == "" {
			ended += f.kill(target.Kind, why, now)
			continue
		}
		if t := e.tokens[target.Token]; t != nil && t.family == f && t.liveAt(now) &&
			(target.Kind == "" || target.Kind == t.Kind) {
			t.kill(why, now)
			ended++
		}
	}
	e.save()
	return ended
}

// Authorisations lists what was consented to, live or ended, that target
// selects, the oldest first. Target's Token and Kind are not looked at.
func (e *Emulator) Authorisations(target Target) []Authorisation {
	e.mu.Lock()
	defer e.mu.Unlock()
	list := []Authorisation{}
	for _, f := range e.sortedFamilies() {
		if target.family(f) {
			list = append(list, f.authorisation())
		}
	}
	return list
}
