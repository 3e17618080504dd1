package pleoauth

import (
	"encoding/json"
	"fmt"
	"unique"
)

// sealedGrant is what is inside a sealed grant.
type sealedGrant struct {
	AccessToken    string `json:"access_token"`
	RefreshToken   string `json:"refresh_token"`
	Scope          string `json:"scope,omitempty"`
	NoRefreshToken bool   `json:"no_refresh_token,omitempty"`
}

func (s *Source) sealGrant(name string, g Grant) []byte {
	plain, err := json.Marshal(sealedGrant{ //nolint:gosec // it is sealed in the next step
		g.AccessToken, g.RefreshToken, g.Scope, g.NoRefreshToken,
	})
	if err != nil {
		panic(err) // strings and booleans
	}
	return s.keyring().seal(plain, s.purpose(name))
}

// openGrant opens a record's grant. Errors wrap [ErrSealed].
func (s *Source) openGrant(name string, sealed []byte) (Grant, error) {
	plain, err := s.keyring().open(sealed, s.purpose(name))
	s.unopened.note(name, err)
	if err != nil {
		return Grant{}, err
	}
	var g sealedGrant
	if json.Unmarshal(plain, &g) != nil || g.AccessToken == "" {
		return Grant{}, fmt.Errorf("%w: its content is of another format", ErrSealed)
	}
	scope := unique.Make(g.Scope).Value() // most connections have the same
	return Grant{AccessToken: g.AccessToken, RefreshToken: g.RefreshToken, Scope: scope, NoRefreshToken: g.NoRefreshToken}, nil
}
