// Package page puts figures that tests have measured into a document, between
// markers, so that nobody types them.
//
// A place for figures is
//
//	<!-- figure: ROW -->…<!-- /figure -->
//
// where ROW is the first key in the file of figures, what is measured of a
// fault. All figures of that row are put there.
package page

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Figures are values by row and name.
type Figures map[string]map[string]any

// ErrFigures is returned when a document and its figures do not belong
// together: one of them has a row that the other lacks.
var ErrFigures = errors.New("figures")

var place = regexp.MustCompile(`(<!-- figure: ([^>]+?) -->).*?(<!-- /figure -->)`)

// simulation is the row of what `make simulate` came to.
const simulation = "simulation"

// Read reads the files of figures in a directory: figures.json, as tests write it
// with -figures, and what the simulation came to. Numbers stay as they are written
// there.
func Read(dir string) (Figures, error) {
	var figures Figures
	if err := readFile(filepath.Join(dir, "figures.json"), "make faults", &figures); err != nil {
		return nil, err
	}
	var tally map[string]any
	if err := readFile(filepath.Join(dir, "figures-simulation.json"), "make simulate", &tally); err != nil {
		return nil, err
	}
	figures[simulation] = tally
	return figures, nil
}

func readFile(file, madeBy string, into any) error {
	text, err := os.ReadFile(file) //nolint:gosec // the caller's choice
	if err != nil {
		return fmt.Errorf("%w: run %s: %w", ErrFigures, madeBy, err)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrFigures, file, err)
	}
	return nil
}

// Fill returns the document with the figures in their places. It returns an
// error that wraps [ErrFigures] if a place has no figures or a row no place.
func Fill(document string, figures Figures) (string, error) {
	left := maps.Clone(figures)
	var missing []string
	filled := place.ReplaceAllStringFunc(document, func(found string) string {
		m := place.FindStringSubmatch(found)
		row, ok := figures[m[2]]
		if !ok {
			missing = append(missing, m[2])
		}
		delete(left, m[2])
		return m[1] + cell(row) + m[3]
	})
	var problems []error
	for _, row := range missing {
		problems = append(problems, fmt.Errorf("%w: nothing is measured of %q: run make faults", ErrFigures, row))
	}
	for _, row := range slices.Sorted(maps.Keys(left)) {
		problems = append(problems, fmt.Errorf("%w: there is no place for %q: add a row with <!-- figure: %s --><!-- /figure -->", ErrFigures, row, row))
	}
	return filled, errors.Join(problems...)
}

// cell is a row's figures in one line of a table.
func cell(row map[string]any) string {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(row)) {
		all = append(all, name+": "+value(row[name]))
	}
	return strings.ReplaceAll(strings.Join(all, "; "), "|", `\|`)
}

// value is a figure in words: counts by kind are listed.
func value(v any) string {
	counts, ok := v.(map[string]any)
	if !ok {
		return fmt.Sprint(v)
	}
	if len(counts) == 0 {
		return "none"
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(counts)) {
		all = append(all, fmt.Sprintf("%v × %s", counts[kind], kind))
	}
	return strings.Join(all, ", ")
}
