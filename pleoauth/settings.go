package pleoauth

import "fmt"

// settings are what a source was configured with last.
type settings struct {
	client *Client
	timing timing
	keys   *Keyring
}

func (s *Source) config() Config    { return s.settings.Load().client.cfg }
func (s *Source) times() timing     { return s.settings.Load().timing }
func (s *Source) oauth() *Client    { return s.settings.Load().client }
func (s *Source) keyring() *Keyring { return s.settings.Load().keys }

// Config returns the configuration, defaults filled in.
func (s *Source) Config() Config { return s.config() }

// Reconfigure takes over another configuration and other keys while the source
// goes on: what is in memory and under way stays. The authorisation server and
// the client have to be the same ones. The error wraps [ErrConfig].
func (s *Source) Reconfigure(cfg Config, keys *Keyring) error {
	client, err := NewClient(cfg, s.dial, s.roots)
	if err != nil {
		return err
	}
	now := s.config()
	if client.cfg.AuthServer != now.AuthServer || client.cfg.ClientID != now.ClientID || keys == nil {
		return fmt.Errorf("%w: a source goes on with the same auth_server and client_id, and keys", ErrConfig)
	}
	client.secrets.prefer(s.oauth().secrets.now())
	s.settings.Store(&settings{client: client, timing: client.cfg.timing(), keys: keys})
	s.unopened.forget()
	return nil
}
