package page_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/pleo-auth-proxy/pleo-auth-proxy/internal/figures/page"
)

func TestFiguresAreFilledInAgainAndAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "figures.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"killed": {"kills": 200, "share": 0.50, "longest": "1.5s"}}`), 0o600))
	figures, err := page.Read(file)
	require.NoError(t, err)
	before := "| a | <!-- figure: killed --><!-- /figure --> | b |"
	after := "| a | <!-- figure: killed -->kills: 200; longest: 1.5s; share: 0.50<!-- /figure --> | b |"
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
	_, err := page.Read(filepath.Join(t.TempDir(), "figures.json"))
	require.ErrorIs(t, err, page.ErrFigures)
	require.ErrorContains(t, err, "make faults")
	file := filepath.Join(t.TempDir(), "figures.json")
	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	_, err = page.Read(file)
	require.ErrorIs(t, err, page.ErrFigures)
}
