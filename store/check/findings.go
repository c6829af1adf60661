package check

import (
	"fmt"
	"path/filepath"
	"strings"

	"facepipe/store/internal/table"
)

// Findings gathers what is found in a folder that is no dataset: a plan, or a run, which its own
// room looks at. It makes a [Report] of it.
type Findings struct {
	dir    string
	report Report
}

// NewFindings are those of a folder, of which nothing is known yet.
func NewFindings(dir string) *Findings {
	return &Findings{dir: dir, report: Report{Problems: []Problem{}}} // a list in JSON, not null
}

// Fault takes down what is wrong with a file; a nil err is nothing. Of an error of the store that
// blames a file itself, that one counts.
func (f *Findings) Fault(file string, err error) {
	if err == nil {
		return
	}
	what := err.Error()
	if blamed, why, ok := table.DamageIn(err); ok {
		file, what = blamed, why.Error()
	}
	what = strings.ReplaceAll(what, file+": ", "")
	if rel, err := filepath.Rel(f.dir, file); err == nil {
		file = filepath.ToSlash(rel)
	}
	f.report.Problems = append(f.report.Problems, Problem{File: file, What: what})
}

// Note takes down what is worth knowing and no damage.
func (f *Findings) Note(format string, args ...any) {
	f.report.Notes = append(f.report.Notes, fmt.Sprintf(format, args...))
}

// Include takes over what was found in a folder below.
func (f *Findings) Include(folder string, r Report) {
	name := folder
	if rel, err := filepath.Rel(f.dir, folder); err == nil {
		name = filepath.ToSlash(rel)
	}
	for _, p := range r.Problems {
		f.report.Problems = append(f.report.Problems, Problem{File: name + "/" + p.File, What: p.What})
	}
	for _, note := range r.Notes {
		f.Note("%s: %s", name, note)
	}
	f.report.Shards, f.report.ShardsRead = f.report.Shards+r.Shards, f.report.ShardsRead+r.ShardsRead
}

// Report is what was found.
func (f *Findings) Report() Report {
	f.report.OK = len(f.report.Problems) == 0
	return f.report
}
