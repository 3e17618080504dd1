package test

import (
	_ "embed"
	"encoding/json"
	"slices"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

//go:embed testdata/accessible.js
var accessibleScript string

// looks is what testdata/accessible.js finds on a page.
type looks struct {
	// Faults are what is wrong, in words.
	Faults []string
	// Texts counts what contrast was measured of.
	Texts, Width, Scroll int
}

// requireAccessible checks the page on the screen: that it has a language, a
// title and one heading, labels for all fields, contrast enough, nothing to be
// scrolled sideways, and that assistive technology is told the same.
func (b *tab) requireAccessible(page string) {
	b.t.Helper()
	found := value(b, chromedp.Evaluate[looks](accessibleScript))
	require.Empty(b.t, found.Faults, page)
	require.GreaterOrEqual(b.t, found.Texts, 2, page)
	require.LessOrEqual(b.t, found.Scroll, found.Width, "%s has to be scrolled sideways", page)

	roles := make(map[string][]string)
	for _, node := range call(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{}).Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role, name := axText(node.Role), ""
		if node.Name != nil {
			name = axText(node.Name)
		}
		roles[role] = append(roles[role], name)
	}
	require.Len(b.t, roles["main"], 1, page)
	for _, role := range []string{"button", "link", "textbox", "searchbox", "table", "columnheader", "rowheader", "heading"} {
		require.NotContains(b.t, roles[role], "", "%s: a %s without a name", page, role)
	}
	for _, role := range []string{"button", "link"} {
		names := slices.Clone(roles[role])
		slices.Sort(names)
		require.Len(b.t, slices.Compact(slices.Clone(names)), len(names), "%s: two of %q are called alike", page, names)
	}
	if rows := value(b, chromedp.Evaluate[int](`document.querySelectorAll("tr").length`)); rows > 0 {
		require.Len(b.t, roles["table"], 1, page)
		require.Len(b.t, roles["row"], rows, page)
		require.Len(b.t, roles["rowheader"], rows-1, page)
		require.Len(b.t, roles["columnheader"], 4, page)
	}
}

func axText(v *accessibility.Value) string {
	var text string
	_ = json.Unmarshal(v.Value, &text)
	return text
}
