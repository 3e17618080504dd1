// Package docs_test runs what the documents show: it adapts and provisions each
// Caddyfile, follows each link, and holds tables and syntax against the code.
package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documents are the Markdown files, as paths from this folder.
func documents(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"../*.md", "*.md", "../examples/*.md", "../examples/*/*.md"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		all = append(all, files...)
	}
	require.Contains(t, all, "../README.md")
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(content)
}

// block is a fenced block of a document.
type block struct {
	file, language, text string
	// comment is what an HTML comment in the line before says: a block that
	// cannot stand alone has one.
	comment string
}

var fencedBlock = regexp.MustCompile("(?ms)^(?: *<!-- ([^\n]*) -->\n)?( *)```([a-z]*)\n(.*?)^ *```$")

func blocks(t *testing.T, file string) []block {
	t.Helper()
	var found []block
	for _, m := range fencedBlock.FindAllStringSubmatch(read(t, file), -1) {
		text := m[4]
		if indent := m[2]; indent != "" {
			text = strings.ReplaceAll("\n"+text, "\n"+indent, "\n")[1:]
		}
		found = append(found, block{file: file, comment: m[1], language: m[3], text: text})
	}
	return found
}

// blocksOf returns the blocks of all documents in a language.
func blocksOf(t *testing.T, language string) []block {
	t.Helper()
	var found []block
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if b.language == language {
				found = append(found, b)
			}
		}
	}
	require.NotEmpty(t, found)
	return found
}

// commented returns the one block with the given comment.
func commented(t *testing.T, comment string) string {
	t.Helper()
	var found []string
	for _, file := range documents(t) {
		for _, b := range blocks(t, file) {
			if b.comment == comment {
				found = append(found, b.text)
			}
		}
	}
	require.Len(t, found, 1, comment)
	return found[0]
}

var (
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading    = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notInSlug  = regexp.MustCompile(`[^a-z0-9 _-]`)
	absolute   = regexp.MustCompile(`^[a-z]+:`)
	makeTarget = regexp.MustCompile("(?m)(?:^ *|`)make ([a-z-]+)")
)

func TestLinksLeadSomewhere(t *testing.T) {
	for _, file := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, file), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if absolute.MatchString(m[1]) {
				continue
			}
			path := file
			if target != "" {
				path = filepath.Join(filepath.Dir(file), target)
				require.FileExists(t, orReadable(path), "%s: %s", file, m[1])
			}
			if anchor != "" {
				require.Contains(t, anchors(t, path), anchor, "%s: %s", file, m[1])
			}
		}
	}
}

// orReadable returns a file in place of a folder that has files.
func orReadable(path string) string {
	entries, err := os.ReadDir(path)
	if err != nil || len(entries) == 0 {
		return path
	}
	i := slices.IndexFunc(entries, func(e os.DirEntry) bool { return !e.IsDir() })
	if i < 0 {
		return path
	}
	return filepath.Join(path, entries[i].Name())
}

// anchors returns what GitHub makes of a document's headings.
func anchors(t *testing.T, file string) []string {
	t.Helper()
	var slugs []string
	for _, m := range heading.FindAllStringSubmatch(read(t, file), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		slugs = append(slugs, strings.ReplaceAll(slug, " ", "-"))
	}
	return slugs
}

func TestMakeTargetsExist(t *testing.T) {
	makefile := read(t, "../Makefile")
	found := 0
	for _, file := range documents(t) {
		for _, m := range makeTarget.FindAllStringSubmatch(read(t, file), -1) {
			require.Regexp(t, `(?m)^`+m[1]+`:`, makefile, "%s: make %s", file, m[1])
			found++
		}
	}
	require.NotZero(t, found)
}

// The blocks in Go are parts of examples, which the compiler has seen.
func TestGoBlocksAreParts(t *testing.T) {
	var lines []string
	for _, file := range []string{"example_test.go", "webhookexample_test.go"} {
		for line := range strings.Lines(read(t, file)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	for _, b := range blocksOf(t, "go") {
		for line := range strings.Lines(b.text) {
			require.Contains(t, lines, strings.TrimSpace(line), b.file)
		}
	}
}
