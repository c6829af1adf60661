package archtest

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// root is the repository's.
const root = "../.."

// codeSpan is a name of code in Markdown.
var codeSpan = regexp.MustCompile("`([^`]+)`")

// rows are the rows of the table below a heading of a page, as cells.
func rows(t *testing.T, page, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, page))
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", page, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var found [][]string
	for line := range strings.Lines(section) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		found = append(found, cells)
	}
	if len(found) < 3 {
		t.Fatalf("%s, %q: no table", page, heading)
	}
	return found[2:] // below the head and its rule
}

// The design lists every package once, and none that is not there.
func TestDesignListsEveryPackage(t *testing.T) {
	tr, err := load(os.DirFS(root))
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]int{}
	for _, f := range tr.goFiles {
		if !f.isTest() {
			packages[f.dir()] = 0
		}
	}
	for _, row := range rows(t, "docs/design.md", "Packages") {
		for _, name := range codeSpan.FindAllStringSubmatch(row[0], -1) {
			if _, there := packages[name[1]]; !there {
				t.Errorf("docs/design.md lists %s, which is no package", name[1])
			}
			packages[name[1]]++
		}
	}
	for _, name := range slices.Sorted(maps.Keys(packages)) {
		if n := packages[name]; n != 1 {
			t.Errorf("docs/design.md lists %s %d times", name, n)
		}
	}
}

// Every recipe names a register that is there: "`name` in `file`".
func TestRecipesNameTheirRegisters(t *testing.T) {
	for _, row := range rows(t, "docs/adding.md", "Recipes") {
		spans := codeSpan.FindAllStringSubmatch(row[2], -1)
		if len(spans) != 2 {
			t.Errorf("%s: the register is %q, want `name` in `file`", row[0], row[2])
			continue
		}
		name, file := spans[0][1], spans[1][1]
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Errorf("%s: %v", row[0], err)
			continue
		}
		if !regexp.MustCompile(`(?m)^(func( \([^)]*\))?|var)\s+` + regexp.QuoteMeta(name) + `\b`).Match(text) {
			t.Errorf("%s: %s has no %s", row[0], file, name)
		}
	}
}
