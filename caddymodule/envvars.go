package caddymodule

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
)

// unmarshalRequireEnv takes the option require_env: the names of environment
// variables that the Caddyfile is written with, as {$NAME}. Caddy replaces these
// in the text before it is parsed, by nothing if they are not set. So this is the
// only place at which all that are missing can be named at once.
func unmarshalRequireEnv(b optionBlock) error {
	var names []string
	if err := b.many(&names, nil); err != nil {
		return err
	}
	if missing := unset(names); missing != nil {
		return b.Errf("require_env: %s", notSet(missing))
	}
	return nil
}

var envPlaceholder = regexp.MustCompile(`\{env\.([^{}]+)\}`)

// checkEnv returns an error that names all environment variables which are missing,
// if placeholders of the app, its store and its notify need several. If one alone
// is missing, the error of its option says more.
func (a *App) checkEnv() error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	var names []string
	for _, match := range envPlaceholder.FindAllStringSubmatch(string(text), -1) {
		names = append(names, match[1])
	}
	if missing := unset(names); len(missing) > 1 {
		return errors.New(notSet(missing))
	}
	return nil
}

// unset returns those of the environment variables that are not set or empty,
// each once.
func unset(names []string) []string {
	var missing []string
	for _, name := range names {
		if os.Getenv(name) == "" && !slices.Contains(missing, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

func notSet(names []string) string {
	if len(names) == 1 {
		return "the environment variable " + names[0] + " is not set"
	}
	return "these environment variables are not set: " + strings.Join(names, ", ")
}
