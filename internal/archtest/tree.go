package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strings"
)

// module is the import path of the repository's root.
const module = "facepipe"

// Violation is one place that breaks a rule.
type Violation struct {
	// File is the path from the repository's root, with slashes.
	File string
	// Line counts from 1; 0 stands for the file as a whole.
	Line int
	// What says what is wrong and what the rule is.
	What string
}

func (v Violation) String() string {
	if v.Line == 0 {
		return v.File + ": " + v.What
	}
	return fmt.Sprintf("%s:%d: %s", v.File, v.Line, v.What)
}

// sourceFile is a parsed Go file.
type sourceFile struct {
	path  string
	lines int
	fset  *token.FileSet
	ast   *ast.File
}

func (f sourceFile) dir() string  { return path.Dir(f.path) }
func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f sourceFile) violation(at token.Pos, format string, args ...any) Violation {
	return Violation{File: f.path, Line: f.fset.Position(at).Line, What: fmt.Sprintf(format, args...)}
}

// textFile is a file of which only the words matter.
type textFile struct {
	path string
	text string
}

// tree is what the rules look at.
type tree struct {
	goFiles []sourceFile
	texts   []textFile // Go, C++, shell and make files
}

// Check reads every source file below root, a repository's root, and returns what
// breaks the rules, in the order of the files' names. The error is about reading or
// parsing only.
func Check(root fs.FS) ([]Violation, error) {
	t, err := load(root)
	if err != nil {
		return nil, err
	}
	var found []Violation
	for _, f := range t.goFiles {
		for _, rule := range fileRules {
			found = append(found, rule(f)...)
		}
	}
	for _, f := range t.texts {
		found = append(found, unfinishedWords(f)...)
	}
	return append(found, packageDocs(t.goFiles)...), nil
}

// load walks the tree. Built things, foreign things and hidden folders are skipped.
func load(root fs.FS) (tree, error) {
	var t tree
	err := fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if entry.IsDir() {
			if base == "node_modules" || base == "build" || base == "bin" || (strings.HasPrefix(base, ".") && base != "." && base != ".ci") {
				return fs.SkipDir
			}
			return nil
		}
		return t.add(root, name)
	})
	return t, err
}

func (t *tree) add(root fs.FS, name string) error {
	ext := path.Ext(name)
	switch {
	case ext == ".go", ext == ".cc", ext == ".h", ext == ".sh", path.Base(name) == "Makefile", strings.HasPrefix(name, ".ci/"):
	default:
		return nil
	}
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return err
	}
	t.texts = append(t.texts, textFile{path: name, text: string(data)})
	if ext != ".go" {
		return nil
	}
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, name, data, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	lines := strings.Count(string(data), "\n")
	t.goFiles = append(t.goFiles, sourceFile{path: name, lines: lines, fset: fset, ast: parsed})
	return nil
}
