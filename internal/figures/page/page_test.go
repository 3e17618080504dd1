package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/figures/page"
)

func TestFiguresAreFilledInAgainAndAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "figures.json", `{"killed": {"kills": 200, "share": 0.50, "longest": "1.5s", "answers": {"503": 2, "200": 7}, "failed": {}}}`)
	write(t, dir, "figures-simulation.json", `{"replays": 0}`)
	figures, err := page.Read(dir)
	require.NoError(t, err)
	before := "| a | <!-- figure: killed --><!-- /figure --> | b |\n<!-- figure: simulation --><!-- /figure -->"
	after := "| a | <!-- figure: killed -->answers: 7 × 200, 2 × 503; failed: none; kills: 200; longest: 1.5s; share: 0.50<!-- /figure --> | b |\n<!-- figure: simulation -->replays: 0<!-- /figure -->"
	for _, document := range []string{before, after} {
		filled, err := page.Fill(document, figures)
		require.NoError(t, err)
		require.Equal(t, after, filled)
	}
}

func TestAPlaceWithoutFiguresAndFiguresWithoutAPlaceAreErrors(t *testing.T) {
	_, err := page.Fill("<!-- figure: killed --><!-- /figure -->", nil)
	require.ErrorIs(t, err, page.ErrFigures)
	require.ErrorContains(t, err, `"killed"`)
	_, err = page.Fill("nothing", page.Figures{"stopped": {"stops": 1}})
	require.ErrorIs(t, err, page.ErrFigures)
	require.ErrorContains(t, err, `"stopped"`)
}

func TestAFileThatIsNotThereOrNoJSONIsAnErrorThatSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	_, err := page.Read(dir)
	require.ErrorIs(t, err, page.ErrFigures)
	require.ErrorContains(t, err, "make faults")
	write(t, dir, "figures.json", "{")
	_, err = page.Read(dir)
	require.ErrorIs(t, err, page.ErrFigures)
	write(t, dir, "figures.json", "{}")
	_, err = page.Read(dir)
	require.ErrorContains(t, err, "make simulate")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}
