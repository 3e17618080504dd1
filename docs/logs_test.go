package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// line is what the code logs, or what the table has of it.
type line struct {
	levels, fields []string
}

// source is a package's functions, to find its lines in.
type logSource struct {
	functions map[string][]*ast.FuncDecl // by name: methods of several types may share one
	lines     map[string]line
	unknown   []string // lines whose message is no constant
	visiting  map[*ast.FuncDecl]bool
}

var logLevels = map[string]string{"Debug": "debug", "Info": "info", "Warn": "warn", "Error": "error"}

// logged returns what the package in a folder logs.
func logged(t *testing.T, folder string) *logSource {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	require.NoError(t, err)
	s := &logSource{functions: map[string][]*ast.FuncDecl{}, lines: map[string]line{}, visiting: map[*ast.FuncDecl]bool{}}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Body != nil {
				s.functions[f.Name.Name] = append(s.functions[f.Name.Name], f)
			}
		}
	}
	s.each(func(within *ast.FuncDecl, call *ast.CallExpr) { s.take(within, call) })
	return s
}

// each calls do for all calls in the package.
func (s *logSource) each(do func(within *ast.FuncDecl, call *ast.CallExpr)) {
	for _, named := range s.functions {
		for _, f := range named {
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					do(f, call)
				}
				return true
			})
		}
	}
}

// take notes a call that logs something.
func (s *logSource) take(within *ast.FuncDecl, call *ast.CallExpr) {
	callee, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return
	}
	level := logLevels[callee.Sel.Name]
	message, constant := literal(call.Args[0])
	switch last := name(callee.X); {
	case last == "logger" && callee.Sel.Name == "Check":
		level = "debug"
		message, _ = literal(call.Args[1])
	case level == "" || last == "http":
		return
	case !constant:
		if last == "logger" || last == "log" {
			s.unknown = append(s.unknown, within.Name.Name)
		}
		return
	}
	l := s.lines[message]
	l.levels = append(l.levels, level)
	l.fields = append(l.fields, s.carried(within, callee.X)...)
	if callee.Sel.Name != "Check" {
		l.fields = append(l.fields, keys(call.Args[1:])...)
	} else { // its fields are given to Write
		ast.Inspect(within.Body, func(n ast.Node) bool {
			if c, ok := n.(*ast.CallExpr); ok && name(c.Fun) == "Write" {
				l.fields = append(l.fields, keys(c.Args)...)
			}
			return true
		})
	}
	slices.Sort(l.levels)
	slices.Sort(l.fields)
	s.lines[message] = line{slices.Compact(l.levels), slices.Compact(l.fields)}
}

// carried returns the fields that a logger has by itself: those it was given
// by With, in this function, in the one that made it, or in those that call.
func (s *logSource) carried(within *ast.FuncDecl, logger ast.Expr) []string {
	switch logger := logger.(type) {
	case *ast.CallExpr:
		if called := name(logger.Fun); called != "With" {
			var found []string
			for _, f := range s.functions[called] {
				found = append(found, s.givenIn(f)...)
			}
			return found
		}
		return append(keys(logger.Args), s.carried(within, logger.Fun.(*ast.SelectorExpr).X)...)
	case *ast.Ident:
		if at := parameter(within, logger.Name); at >= 0 {
			var found []string
			s.each(func(caller *ast.FuncDecl, call *ast.CallExpr) {
				if name(call.Fun) == within.Name.Name && at < len(call.Args) {
					found = append(found, s.carried(caller, call.Args[at])...)
				}
			})
			return found
		}
		if !s.visiting[within] { // a logger that is made of itself: log = log.With(…)
			s.visiting[within] = true
			defer delete(s.visiting, within)
			return s.givenIn(within)
		}
	}
	return nil
}

// givenIn returns the fields of all loggers that are made in a function.
func (s *logSource) givenIn(f *ast.FuncDecl) []string {
	var found []string
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && name(a.Lhs[0]) == "log" {
			if call, ok := a.Rhs[0].(*ast.CallExpr); ok {
				found = append(found, s.carried(f, call)...)
			}
		}
		if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) == 1 {
			if call, ok := r.Results[0].(*ast.CallExpr); ok && name(call.Fun) == "With" {
				found = append(found, s.carried(f, call)...)
			}
		}
		return true
	})
	return found
}

func parameter(f *ast.FuncDecl, name string) int {
	at := 0
	for _, field := range f.Type.Params.List {
		for _, n := range field.Names {
			if n.Name == name {
				return at
			}
			at++
		}
	}
	return -1
}

// keys returns the fields among arguments: slog's, which alternate with values,
// or zap's.
func keys(args []ast.Expr) []string {
	var found []string
	for i := 0; i < len(args); i++ {
		if key, ok := literal(args[i]); ok {
			found = append(found, key)
			i++
			continue
		}
		call, ok := args[i].(*ast.CallExpr)
		if !ok {
			continue
		}
		if key, ok := literal(call.Args[0]); ok {
			found = append(found, key)
		} else if name(call.Fun) == "Error" {
			found = append(found, "error")
		}
	}
	return found
}

// literal returns a text, or the part of one before what is appended to it.
func literal(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return text, true
		}
	case *ast.BinaryExpr:
		text, ok := literal(e.X)
		return text + "…", ok
	}
	return "", false
}

// name returns the last word of an expression.
func name(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		return name(e.Fun)
	}
	return ""
}

var logRow = regexp.MustCompile("(?m)^\\| `([^|]+)` \\| ([a-z, ]+) \\| ([^|]*)\\|")

func TestTheTablesOfLogLinesAreWhatIsLogged(t *testing.T) {
	page := read(t, "logs.md")
	for heading, folder := range map[string]string{"## The library's": "../pleoauth", "## The notices'": "../pleoauth/webhook", "## The modules'": "../caddymodule"} {
		t.Run(heading, func(t *testing.T) {
			_, section, ok := strings.Cut(page, heading)
			require.True(t, ok)
			section, _, _ = strings.Cut(section, "\n## ")
			code, documented := logged(t, folder), map[string]line{}
			for _, row := range logRow.FindAllStringSubmatch(section, -1) {
				require.NotContains(t, documented, row[1], "twice")
				documented[row[1]] = line{strings.Split(strings.TrimSpace(row[2]), ", "), names("`([a-z_]+)`", row[3])}
			}
			require.Equal(t, slices.Sorted(maps.Keys(code.lines)), slices.Sorted(maps.Keys(documented)))
			for message, l := range code.lines {
				slices.Sort(documented[message].levels)
				require.Equal(t, l.levels, documented[message].levels, message)
				require.ElementsMatch(t, l.fields, documented[message].fields, message)
			}
			// The app's warnings about options are texts of their own.
			require.Subset(t, []string{"Provision"}, code.unknown)
		})
	}
}

// What is there to be searched for has the fields to search by.
func TestEveryLineOnARefreshSettleOrHoldSaysWhoseWhichHowLongAndWhatCameOfIt(t *testing.T) {
	for message, l := range logged(t, "../pleoauth").lines {
		if regexp.MustCompile("refresh|settled|held|grant has ended|grant that the store").MatchString(message) && slices.Contains(l.fields, "connection") {
			require.Subset(t, l.fields, []string{"connection", "generation", "duration", "result"}, message)
		}
	}
}
