package pleoauth

import (
	"errors"
	"fmt"
)

// DefaultConnection is the connection that a call without a name uses.
const DefaultConnection = "default"

// maxConnectionName is the longest name of a connection, in bytes.
const maxConnectionName = 128

// ErrInvalidConnection is returned when the name of a connection is not of the
// form [A-Za-z0-9][A-Za-z0-9._:-]{0,127}.
var ErrInvalidConnection = errors.New("invalid connection name")

// CheckConnection returns an error that wraps [ErrInvalidConnection] if name
// cannot name a connection. The name itself is not repeated in the error: it
// may come from anywhere, and errors end up in logs.
func CheckConnection(name string) error {
	if name == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidConnection)
	}
	if len(name) > maxConnectionName {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrInvalidConnection, maxConnectionName)
	}
	for i := range len(name) {
		if !connectionByte(name[i], i == 0) {
			return fmt.Errorf("%w: byte %d is not allowed (letters, digits, and after the first '.', '_', ':', '-')", ErrInvalidConnection, i+1)
		}
	}
	return nil
}

func connectionByte(b byte, first bool) bool {
	switch {
	case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		return true
	case b == '.', b == '_', b == ':', b == '-':
		return !first
	}
	return false
}
