package archtest

import (
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// allowedRooms is the table of rooms: who may import whom, besides itself. A room
// that is not listed (cmd, bench, testdata) may import everything.
var allowedRooms = map[string][]string{
	"ingest":   {"store", "internal"},
	"teacher":  {"store", "internal"},
	"student":  {"store", "internal"},
	"eval":     {"store", "internal"},
	"study":    {"student", "eval", "store", "internal"},
	"page":     {"eval", "store", "internal"},
	"store":    {"internal"},
	"internal": {},
}

// allowedWings is the table of wings: which packages of its own room, by their paths below
// it, a package of a large room may import. "." is the package that has the room's name. In a
// room of the table every package is listed, so that a new one finds its place first. Tests
// may import any.
var allowedWings = map[string]map[string][]string{
	"store": {
		"internal/table": {},
		"internal/index": {"internal/table"},
		".":              {"internal/index", "internal/table"},
		"cache":          {".", "internal/table"},
		"derived":        {"cache", ".", "internal/table"},
		"plan":           {"cache", ".", "internal/table"},
		"merge":          {"cache", "."},
		"check":          {"plan", "derived", "cache", ".", "internal/table"},
		"info":           {"derived", "cache", "."},
		"export":         {"cache", "."},
		"storetest":      {"check", "plan", "cache", ".", "internal/index", "internal/table"},
	},
}

// testPackages are for tests alone: nothing else may import them.
var testPackages = regexp.MustCompile(`(^|/)\w+test$`)

// maxMainLines keeps main.go a door and nothing else.
const maxMainLines = 40

// shapelessNames say nothing of what a package holds.
var shapelessNames = []string{"util", "utils", "common", "helper", "helpers", "misc", "base", "lib"}

// unfinished finds words for work put off. They are spelled apart here so that this
// file keeps its own rule.
var unfinished = regexp.MustCompile(`\b(` + "TO" + "DO|" + "FIX" + "ME|" + "XX" + "X|" + "HA" + "CK" + `)\b`)

// fileRules are the rules that look at one Go file.
var fileRules = []func(sourceFile) []Violation{
	roomImports,
	wingImports,
	testPackagesAlone,
	shortMain,
	noInit,
	noFlagVariables,
	oneOpener,
	tellingPackageName,
	documentedExports,
}

// room is the first element of a path below the module's root.
func room(p string) string {
	first, _, _ := strings.Cut(p, "/")
	return first
}

// ourImports are a file's imports of this module, by their paths below its root.
func ourImports(f sourceFile) map[string]token.Pos {
	ours := map[string]token.Pos{}
	for _, spec := range f.ast.Imports {
		target, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if inside, ok := strings.CutPrefix(target, module+"/"); ok {
			ours[inside] = spec.Pos()
		}
	}
	return ours
}

func roomImports(f sourceFile) []Violation {
	from := room(f.dir())
	allowed, ruled := allowedRooms[from]
	if !ruled {
		return nil
	}
	var found []Violation
	for inside, at := range ourImports(f) {
		// Generated faces and models are data, not a room; tests of every room read them.
		if to := room(inside); to != from && to != "testdata" && !slices.Contains(allowed, to) {
			found = append(found, f.violation(at, "%s must not import %s", from, inside))
		}
	}
	return found
}

func wingImports(f sourceFile) []Violation {
	wings, ruled := allowedWings[room(f.dir())]
	if !ruled || f.isTest() {
		return nil
	}
	from := wing(f.dir())
	allowed, listed := wings[from]
	if !listed {
		return []Violation{f.violation(f.ast.Pos(), "%s is in no row of allowedWings: say what it may import", f.dir())}
	}
	var found []Violation
	for inside, at := range ourImports(f) {
		if room(inside) == room(f.dir()) && !slices.Contains(allowed, wing(inside)) {
			found = append(found, f.violation(at, "%s must not import %s", f.dir(), inside))
		}
	}
	return found
}

// wing is the path of a package below its room, "." for the room's own.
func wing(dir string) string {
	if _, below, ok := strings.Cut(dir, "/"); ok {
		return below
	}
	return "."
}

func testPackagesAlone(f sourceFile) []Violation {
	if f.isTest() || testPackages.MatchString(f.dir()) {
		return nil
	}
	var found []Violation
	for inside, at := range ourImports(f) {
		if testPackages.MatchString(inside) {
			found = append(found, f.violation(at, "%s is for tests alone", inside))
		}
	}
	return found
}

func shortMain(f sourceFile) []Violation {
	if path.Base(f.path) != "main.go" || room(f.path) != "cmd" || f.lines <= maxMainLines {
		return nil
	}
	return []Violation{f.violation(f.ast.Pos(), "has %d lines, at most %d: the work belongs in a room", f.lines, maxMainLines)}
}

func noInit(f sourceFile) []Violation {
	var found []Violation
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
			found = append(found, f.violation(fn.Pos(), "init function: importing a package must do nothing"))
		}
	}
	return found
}

// noFlagVariables finds package-level variables that hold flags or commands, which
// would make two runs in one process share their settings. A test's own flag, such as
// -update for golden files, is Go's idiom.
func noFlagVariables(f sourceFile) []Violation {
	if f.isTest() {
		return nil
	}
	var found []Violation
	for _, decl := range f.ast.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.VAR {
			continue
		}
		for _, spec := range gen.Specs {
			if mentionsFlags(spec) {
				found = append(found, f.violation(spec.Pos(), "package-level flag or command: make it a field of an Options struct"))
			}
		}
	}
	return found
}

// openers are the functions of package os that open files in ways that internal/regular
// refuses to: they wait at a pipe, read a device without end, or follow a link.
var openers = []string{"Open", "OpenFile", "ReadFile", "Create", "WriteFile", "Truncate"}

// ownOpeners are where they may be called nevertheless.
var ownOpeners = map[string]string{
	"internal/regular":    "is the opener",
	"internal/durable":    "opens folders to sync them, which are no files",
	"internal/powerloss":  "is a disk of tests, in folders of theirs",
	"eval/cost/memory.go": "writes to /proc, where there is no regular file",
	"study/cost.go":       "writes to /proc, where there is no regular file",
}

// oneOpener wants every file of the program opened by internal/regular. Tests and benchmarks
// read what they have written.
func oneOpener(f sourceFile) []Violation {
	_, file := ownOpeners[f.path]
	_, folder := ownOpeners[f.dir()]
	if file || folder || f.isTest() || testPackages.MatchString(f.dir()) || room(f.path) == "bench" {
		return nil
	}
	var found []Violation
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && slices.Contains(openers, s.Sel.Name) {
			if pkg, ok := s.X.(*ast.Ident); ok && pkg.Name == "os" {
				found = append(found, f.violation(s.Pos(), "os.%s: open it by internal/regular, or write it by internal/durable", s.Sel.Name))
			}
		}
		return true
	})
	return found
}

func mentionsFlags(n ast.Node) bool {
	mentioned := false
	ast.Inspect(n, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if pkg, ok := sel.X.(*ast.Ident); ok && slices.Contains([]string{"flag", "pflag", "cobra"}, pkg.Name) {
				mentioned = true
			}
		}
		_, isFunc := n.(*ast.FuncLit)
		return !isFunc
	})
	return mentioned
}

func tellingPackageName(f sourceFile) []Violation {
	if slices.Contains(shapelessNames, f.ast.Name.Name) {
		return []Violation{f.violation(f.ast.Name.Pos(), "package name %s says nothing of what it holds", f.ast.Name.Name)}
	}
	return nil
}

// documentedExports wants a doc comment on every exported function, type, constant
// and variable, and on exported methods of exported types. A comment on a group of
// constants or variables covers the group. Methods that only fulfil an interface of
// the standard library need none.
func documentedExports(f sourceFile) []Violation {
	if f.isTest() {
		return nil
	}
	var found []Violation
	missing := func(name *ast.Ident, doc *ast.CommentGroup) {
		if name.IsExported() && doc == nil {
			found = append(found, f.violation(name.Pos(), "exported %s has no doc comment", name.Name))
		}
	}
	for _, decl := range f.ast.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !selfEvident(d) {
				missing(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				eachDeclared(spec, d.Doc, missing)
			}
		}
	}
	return found
}

// selfEvident methods are those of unexported types, and of interfaces that every
// reader of Go knows.
func selfEvident(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return false
	}
	return !ast.IsExported(receiverType(d.Recv.List[0].Type)) ||
		slices.Contains([]string{"String", "Error", "Unwrap", "Is", "Len", "Less", "Swap", "MarshalJSON", "UnmarshalJSON", "MarshalText", "UnmarshalText"}, d.Name.Name)
}

func receiverType(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.StarExpr:
		return receiverType(t.X)
	case *ast.IndexExpr:
		return receiverType(t.X)
	case *ast.IndexListExpr:
		return receiverType(t.X)
	case *ast.Ident:
		return t.Name
	}
	return ""
}

func eachDeclared(spec ast.Spec, group *ast.CommentGroup, yield func(*ast.Ident, *ast.CommentGroup)) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		yield(s.Name, firstComment(s.Doc, group))
	case *ast.ValueSpec:
		for _, name := range s.Names {
			yield(name, firstComment(s.Doc, s.Comment, group))
		}
	}
}

func firstComment(candidates ...*ast.CommentGroup) *ast.CommentGroup {
	for _, c := range candidates {
		if c != nil {
			return c
		}
	}
	return nil
}

func unfinishedWords(f textFile) []Violation {
	var found []Violation
	for i, line := range strings.Split(f.text, "\n") {
		if word := unfinished.FindString(line); word != "" {
			found = append(found, Violation{File: f.path, Line: i + 1, What: word + ": finish it, or open an issue"})
		}
	}
	return found
}

// packageDocs wants one doc comment a package; test-only packages need none.
func packageDocs(files []sourceFile) []Violation {
	documented := map[string]bool{}
	first := map[string]sourceFile{}
	var dirs []string
	for _, f := range files {
		if f.isTest() {
			continue
		}
		if _, met := first[f.dir()]; !met {
			first[f.dir()] = f
			dirs = append(dirs, f.dir())
		}
		documented[f.dir()] = documented[f.dir()] || f.ast.Doc != nil
	}
	var found []Violation
	for _, dir := range dirs {
		if !documented[dir] {
			found = append(found, first[dir].violation(first[dir].ast.Pos(), "package has no doc comment"))
		}
	}
	return found
}
