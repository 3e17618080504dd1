//go:build race

package pleoauth_test

// Under the race detector a schedule takes ten times as long.
const raceDetector = true
