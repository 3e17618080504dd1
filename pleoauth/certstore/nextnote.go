package certstore

import (
	"fmt"
	"os"
	"time"
)

// nextNote is the path of a file that says from when until when a caller is next
// in line for a lock, both in Unix milliseconds. Like lock files, notes of
// connections that share a lock file are one.
type nextNote string

// nextNoteFormat has a fixed width, so that a note is replaced in one write and
// no reader meets a part of it.
const nextNoteFormat = "%020d %020d"

// write replaces the note by one that stands for life from now.
func (n nextNote) write(life time.Duration) error {
	file, err := os.OpenFile(string(n), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	now := time.Now()
	_, err = file.WriteAt(fmt.Appendf(nil, nextNoteFormat, now.UnixMilli(), now.Add(life).UnixMilli()), 0)
	return err
}

// stands reports whether a caller is next. A note of the future does not count:
// it was made before the clock was put back, and could stand for long.
func (n nextNote) stands() bool {
	text, err := os.ReadFile(string(n))
	if err != nil {
		return false
	}
	var from, until int64
	if _, err := fmt.Sscanf(string(text), nextNoteFormat, &from, &until); err != nil {
		return false
	}
	now := time.Now().UnixMilli()
	return from <= now && now < until
}

// end takes the note away. Where that fails, it ends by itself.
func (n nextNote) end() { _ = os.Remove(string(n)) }
