package caddymodule

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// hasPlaceholder reports whether the value is known only once it is resolved.
func hasPlaceholder(value string) bool { return strings.Contains(value, "{") }

// resolver replaces the placeholders of options. Errors name the option and the
// placeholder, and never a value.
type resolver struct {
	replacer *caddy.Replacer
	logger   *zap.Logger
}

func newResolver(logger *zap.Logger) resolver {
	return resolver{replacer: caddy.NewReplacer(), logger: logger}
}

const fileHint = "is the file there, readable and not empty?"

// option resolves a value. A placeholder that is unknown or empty is an error:
// replaced by nothing, a missing secret would quietly be an empty one.
func (r resolver) option(name, value string) (string, error) {
	resolved, err := r.replacer.ReplaceOrErr(value, true, true)
	if err == nil {
		return r.oneLine(name, resolved)
	}
	if strings.Contains(value, "{file.") {
		return "", fmt.Errorf("%s: %w (%s)", name, err, fileHint)
	}
	return "", fmt.Errorf("%s: %w", name, err)
}

// oneLine takes off what editors and tools put around a value in a file: line
// breaks, and a byte order mark. What is left is one line of text, or an error.
func (r resolver) oneLine(name, value string) (string, error) {
	line := strings.Trim(value, "\r\n\ufeff")
	if line == "" && value != "" {
		return "", fmt.Errorf("%s: the value has nothing but line breaks", name)
	}
	if !utf8.ValidString(line) {
		return "", fmt.Errorf("%s: the value is not text in UTF-8", name)
	}
	if strings.ContainsFunc(line, unicode.IsControl) {
		return "", fmt.Errorf("%s: the value has a line break or another control character inside", name)
	}
	return line, nil
}

// sourcePlaceholder is a placeholder that says where a secret comes from. It is no
// secret itself.
var sourcePlaceholder = regexp.MustCompile(`\{(?:env|file)\.[^{}]*\}`)

// confidential resolves a value that holds a secret. Its errors have nothing of it
// but the placeholders that say where it comes from.
func (r resolver) confidential(name, value string) (string, error) {
	resolved, err := r.replacer.ReplaceOrErr(value, true, true)
	if err == nil {
		return r.oneLine(name, resolved)
	}
	if sources := sourcePlaceholder.FindAllString(value, -1); len(sources) > 0 {
		hint := "is the variable set and not empty?"
		if strings.Contains(value, "{file.") {
			hint = fileHint
		}
		return "", fmt.Errorf("%s: no value comes from %s (%s)", name, strings.Join(sources, " or "), hint)
	}
	return "", fmt.Errorf(`%s: what stands in braces is not a placeholder that Caddy knows; in a literal value, write \{ for a brace`, name)
}

// secret resolves a value that should not stand in the configuration, and warns
// if it does: Caddy saves and shows its configuration as it is.
func (r resolver) secret(name, value string) (string, error) {
	resolved, err := r.confidential(name, value)
	if err == nil && value != "" && resolved == value { // braces alone make no placeholder
		r.warnLiteral(name)
	}
	return resolved, err
}

func (r resolver) warnLiteral(name string) {
	r.logger.Warn("a secret stands in the configuration, which Caddy saves and shows; use {env.NAME} or {file./path} ({$NAME} is replaced before)",
		zap.String("option", name))
}

// options resolves several values of one option.
func (r resolver) options(name string, values []string, one func(name, value string) (string, error)) ([]string, error) {
	var resolved []string
	for _, value := range values {
		v, err := one(name, value)
		if err != nil {
			return nil, err
		}
		resolved = append(resolved, v)
	}
	return resolved, nil
}

// resolve fills in what the placeholders of the app's options stand for.
func (a *App) resolve(r resolver) error {
	if err := a.checkServers(); err != nil {
		return err
	}
	auth, api := a.servers()
	a.config = pleoauth.Config{
		AuthServer:         auth,
		APIServer:          api,
		RefreshBefore:      duration(a.RefreshBefore),
		RefreshTimeout:     duration(a.RefreshTimeout),
		KeepAlive:          duration(a.KeepAlive),
		AllowSubjectChange: a.AllowSubjectChange,
	}
	var err error
	if a.config.ClientID, err = r.option("client_id", a.ClientID); err != nil {
		return err
	}
	if a.config.Issuer, err = r.option("issuer", a.Issuer); err != nil {
		return err
	}
	if err := a.resolveClientSecrets(r); err != nil {
		return err
	}
	if a.config.RedirectURI, err = r.option("redirect_uri", a.RedirectURI); err != nil {
		return err
	}
	if a.config.Scopes, err = r.options("scopes", a.Scopes, r.option); err != nil {
		return err
	}
	if a.keys, err = r.options("encryption_key", a.EncryptionKeys, r.secret); err != nil {
		return err
	}
	authoriseURI, err := r.option("authorise_uri", a.AuthoriseURI)
	if err != nil {
		return err
	}
	if authoriseURI != "" {
		if a.authoriseURL, err = parseAuthoriseURI(authoriseURI); err != nil {
			return err
		}
		a.config.AuthoriseURI = authoriseURI
	}
	origins, err := r.options("return_to_origins", a.ReturnToOrigins, r.option)
	if err != nil {
		return err
	}
	for _, origin := range origins {
		o, err := parseOrigin(origin)
		if err != nil {
			return fmt.Errorf("return_to_origins: %w", err)
		}
		a.origins = append(a.origins, o)
	}
	if a.Notify != nil {
		if a.notify, err = a.Notify.resolve(r); err != nil {
			return err
		}
	}
	a.config = a.config.WithDefaults()
	return nil
}

func parseAuthoriseURI(value string) (*url.URL, error) {
	if err := checkConfig(pleoauth.Config{AuthoriseURI: value}); err != nil {
		return nil, err
	}
	return url.Parse(value)
}

// startAgain returns the link that a page offers to start again with, or "". A
// one-time link is not known any more.
func (a *App) startAgain(connection, returnTo string) string {
	if a.RequireTicket {
		return ""
	}
	return a.authoriseURI(connection, returnTo)
}

// authoriseURI returns the link that authorises a connection, or "" if none is
// configured.
func (a *App) authoriseURI(connection, returnTo string) string {
	if a.authoriseURL == nil {
		return ""
	}
	u := *a.authoriseURL
	q := u.Query()
	q.Set("connection", connection)
	if returnTo != "" {
		q.Set("return_to", returnTo)
	}
	u.RawQuery = q.Encode()
	return u.String()
}
