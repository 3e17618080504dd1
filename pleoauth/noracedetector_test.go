//go:build !race

package pleoauth_test

const raceDetector = false
