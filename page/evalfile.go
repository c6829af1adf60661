package page

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"path/filepath"

	"facepipe/eval/report"
	"facepipe/internal/imgcodec"
	"facepipe/internal/regular"
	"facepipe/store"
)

// evaluation is an eval's report.json and the folder it is in.
type evaluation struct {
	path, folder string
	test         string // the name of one of several, "" of one alone
	report.Report
	raw json.RawMessage
}

// reportFile is the report.json of a path, which may be the file itself.
func reportFile(path string) string {
	if isFile(path) {
		return path
	}
	return filepath.Join(path, "report.json")
}

// isEval is whether a path is an eval's folder or its report.
func isEval(path string) bool {
	if isFile(path) {
		return filepath.Ext(path) == ".json"
	}
	return isFile(reportFile(path))
}

// readEval reads a report of bounded size.
func readEval(path string) (*evaluation, error) {
	e := &evaluation{path: path, folder: filepath.Dir(reportFile(path))}
	read := readFile
	if isFile(path) {
		read = regular.Read // wherever the user's own link leads
	}
	data, err := read(reportFile(path), maxFile)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, &e.Report); err != nil {
		return nil, fmt.Errorf("%w: %s: %w; run eval again to make it anew", store.ErrDamaged, reportFile(path), err)
	}
	if len(e.Report.Models)+len(e.Failed) == 0 || e.Pairs.Format == "" && e.Pairs.Path == "" {
		return nil, fmt.Errorf("%w: %s is no report of an eval: it has no models", ErrUnknown, reportFile(path))
	}
	e.raw = data
	return e, nil
}

// tests are the parts of a report that has several tests, itself if it has one. What is said
// of no test in particular stays with the whole.
func (e *evaluation) tests() []*evaluation {
	if len(e.Report.Tests) < 2 {
		return []*evaluation{e}
	}
	var list []*evaluation
	for _, t := range e.Report.Tests {
		one := &evaluation{path: e.path, folder: e.folder, test: t.Name, Report: e.Report}
		one.Dataset, one.Pairs, one.FoldRule, one.Folds = t.Dataset, t.Pairs, t.FoldRule, t.Folds
		one.Report.Models, one.Report.Warnings, one.Report.Overlap, one.Report.Variants, one.Report.Command = nil, nil, nil, nil, nil
		for _, m := range e.Report.Models {
			if m.Test == t.Name {
				m.Test = "" // it need not be said of each
				one.Report.Models = append(one.Report.Models, m)
			}
		}
		one.Report.Failed = ofTest(e.Report.Failed, t.Name, func(f report.Failed) string { return f.Test })
		one.Comparisons = ofTest(e.Comparisons, t.Name, func(c report.Comparison) string { return c.Test })
		one.Cohorts = ofTest(e.Cohorts, t.Name, func(c report.Cohort) string { return c.Test })
		one.Report.Agreement = ofTest(e.Report.Agreement, t.Name, func(a report.Agreement) string { return a.Test })
		list = append(list, one)
	}
	return list
}

// ofTest are the elements of a test.
func ofTest[T any](list []T, name string, test func(T) string) (found []T) {
	for _, element := range list {
		if test(element) == name {
			found = append(found, element)
		}
	}
	return found
}

// maxPicture is the longest picture that is taken from an eval's folder.
const maxPicture = 256 << 10

// picture is an SVG file of the eval's folder, as an image: what is in it runs no script.
func (e *evaluation) picture(name string) (template.URL, bool) {
	data, err := readFile(filepath.Join(e.folder, name), maxPicture)
	if err != nil || !bytes.HasPrefix(bytes.TrimSpace(data), []byte("<svg")) {
		return "", false
	}
	return dataURL("image/svg+xml", data), true
}

// name is the test's.
func (e *evaluation) name() string { return cmp.Or(e.test, filepath.Base(e.Pairs.Path)) }

// pictureOf is a picture that eval left for a key among its faces, as a thumbnail.
func (e *evaluation) pictureOf(m *maker, file string) template.URL {
	if file == "" || !filepath.IsLocal(file) {
		return ""
	}
	data, err := readFile(filepath.Join(e.folder, filepath.FromSlash(file)), maxFaceFile)
	if err != nil {
		return ""
	}
	img, _, err := imgcodec.Decode(data, imgcodec.Limits{Pixels: maxFacePixels})
	if err != nil {
		return ""
	}
	return m.album.thumb(img)
}

// Crops of an eval's folder are no larger.
const (
	maxFaceFile   = 1 << 20
	maxFacePixels = 1 << 20
)
