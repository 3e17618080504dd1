package certstore

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/pleoauth"
)

// maxSegment is how many characters of a name's hex one path segment gets. The
// hex of the longest name has 256, and file systems end at 255.
const maxSegment = 128

const suffix = ".json"

// identityHash keeps apart identities that share a storage.
func identityHash(id pleoauth.Identity) string {
	sum := sha256.Sum256([]byte(id.Issuer + "\x00" + id.ClientID))
	return hex.EncodeToString(sum[:8])
}

// fileName returns the path of a connection's file: the hex of its name, since
// names that differ by case alone must not share a file where the file system
// does not tell cases apart.
func fileName(name, suffix string) string {
	digits := hex.EncodeToString([]byte(name))
	var segments []string
	for len(digits) > maxSegment {
		segments = append(segments, digits[:maxSegment])
		digits = digits[maxSegment:]
	}
	return path.Join(append(segments, digits+suffix)...)
}

// lockName returns the name of a connection's lock file. Lock files stay, so
// there is a bound to them: whoever may try names of connections would fill the
// disk otherwise. Two connections that share one wait for each other.
func lockName(name, suffix string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:2]) + suffix
}

// nameOf is the reverse of fileName; false: the file is not a connection's.
func nameOf(file string) (string, bool) {
	digits, ok := strings.CutSuffix(file, suffix)
	if !ok {
		return "", false
	}
	b, err := hex.DecodeString(strings.ReplaceAll(digits, "/", ""))
	if err != nil || pleoauth.CheckConnection(string(b)) != nil || fileName(string(b), suffix) != file {
		return "", false
	}
	return string(b), true
}
