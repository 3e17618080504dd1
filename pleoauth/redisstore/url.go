package redisstore

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// ParseURL returns the options of one of
//
//	redis://[user[:password]@]host[:port][/db]
//	rediss://[user[:password]@]host[:port][/db]
//	unix://[user[:password]@]/path/to/socket[?db=n]
//
// rediss is Redis over TLS, with the host as the server's name. The port is
// 6379 where none is given; a password alone is written :password@. Errors
// wrap [ErrOptions] and repeat no part of the URL: where it is malformed,
// nobody can tell which part is the password.
func ParseURL(text string) (Options, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Options{}, fmt.Errorf("%w: the URL is malformed (special characters of a password must be percent-encoded)", ErrOptions)
	}
	var o Options
	if u.User != nil {
		o.Username = u.User.Username()
		o.Password, _ = u.User.Password()
	}
	switch u.Scheme {
	case "redis":
	case "rediss":
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	case "unix":
		return parseUnix(u, o)
	default:
		return Options{}, fmt.Errorf("%w: the URL's scheme is not redis, rediss or unix", ErrOptions)
	}
	if u.Opaque != "" || u.Hostname() == "" {
		return Options{}, fmt.Errorf("%w: the URL has no host", ErrOptions)
	}
	if u.RawQuery != "" || u.Fragment != "" {
		return Options{}, fmt.Errorf("%w: the URL must have no query and no fragment (special characters of a password must be percent-encoded)", ErrOptions)
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	o.Addresses = []string{net.JoinHostPort(u.Hostname(), port)}
	if o.DB, err = parseDB(strings.Trim(u.Path, "/")); err != nil {
		return Options{}, err
	}
	return o, o.Validate()
}

func parseUnix(u *url.URL, o Options) (Options, error) {
	query := u.Query()
	db, err := parseDB(query.Get("db"))
	if err != nil {
		return Options{}, err
	}
	query.Del("db")
	if u.Host != "" || !strings.HasPrefix(u.Path, "/") || len(query) > 0 || u.Fragment != "" {
		return Options{}, fmt.Errorf("%w: the URL is not of the form unix:///path/to/socket?db=0", ErrOptions)
	}
	o.Addresses, o.DB = []string{u.Path}, db
	return o, o.Validate()
}

func parseDB(text string) (int, error) {
	if text == "" {
		return 0, nil
	}
	db, err := strconv.Atoi(text)
	if err != nil || db < 0 {
		return 0, fmt.Errorf("%w: the URL's database is not a number", ErrOptions)
	}
	return db, nil
}
