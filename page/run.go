package page

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"facepipe/eval/plot"
)

// manifest is what a page tells of a run's run.json.
type manifest struct {
	Options json.RawMessage `json:"options"`
	Dataset string          `json:"dataset_digest"`
	Crops   string          `json:"crops_digest"`
	Teacher string          `json:"teacher_fingerprint"`
	Init    string          `json:"init"`
	Flip    bool            `json:"flip"`
	Rows    int             `json:"crops"`
}

// settings are those of a run's options that a page reckons with.
type settings struct {
	Teacher    string          `json:"teacher"`
	Student    json.RawMessage `json:"student"`
	Epochs     float64         `json:"epochs"`
	Batch      float64         `json:"batch"`
	Accumulate float64         `json:"accumulate"`
	Loss       struct {
		Name string `json:"name"`
	} `json:"loss"`
}

// runSummary is what a page tells of a run's summary.json.
type runSummary struct {
	Steps           int                `json:"steps"`
	Epochs          int                `json:"epochs"`
	Parameters      int                `json:"parameters"`
	FinalLoss       float64            `json:"final_loss"`
	SkippedSteps    int                `json:"skipped_steps"`
	BestStep        int                `json:"best_step"`
	Precision       string             `json:"precision"`
	Device          string             `json:"device"`
	Torch           string             `json:"torch"`
	Validation      map[string]float64 `json:"validation"`
	ImagesPerSecond float64            `json:"images_per_second"`
}

// diverged is what a page tells of a run's diverged.json.
type diverged struct {
	Reason     string   `json:"reason"`
	Step       int      `json:"step"`
	Parameters []string `json:"parameters_not_finite"`
	Gradients  []string `json:"gradients_not_finite"`
}

// run is a run's folder.
type run struct {
	path     string
	manifest manifest
	settings settings
	journal  *history
	summary  *runSummary // nil until the run is finished
	diverged *diverged   // nil unless it was given up
	best     string      // the file of the best checkpoint
}

func isRun(path string) bool { return lies(filepath.Join(path, "run.json")) }

func runPart(_ context.Context, _ *maker, path string) (Part, error) {
	r := run{path: path}
	if err := r.read(); err != nil {
		return Part{}, err
	}
	p := Part{
		Path: path, Title: filepath.Base(filepath.Clean(path)), Answer: r.answer(), Live: !r.finished() && r.diverged == nil,
		Warnings: r.warnings(), Data: r.data(),
	}
	for _, s := range []Section{r.outcome(), r.losses(), r.validation(), r.mining(), r.speed(), r.checkpoints(), r.options(), r.origin()} {
		if len(s.Blocks) > 0 {
			p.Sections = append(p.Sections, s)
		}
	}
	return p, nil
}

// read reads all files of a run but its checkpoints.
func (r *run) read() error {
	if err := readJSON(r.file("run.json"), &r.manifest); err != nil {
		return err
	}
	_ = json.Unmarshal(r.manifest.Options, &r.settings) // of another version it may tell less
	var err error
	if r.journal, err = readJournal(r.path, r.settings.Batch*max(r.settings.Accumulate, 1)); err != nil {
		return err
	}
	if err := optional(r.file("summary.json"), &r.summary); err != nil {
		return err
	}
	if err := optional(r.file("diverged.json"), &r.diverged); err != nil {
		return err
	}
	var best *struct {
		File string `json:"file"`
	}
	if err := optional(filepath.Join(r.path, "checkpoints", "best.json"), &best); err != nil {
		return err
	}
	if best != nil {
		r.best = best.File
	}
	return nil
}

// optional reads a file of JSON that need not be there.
func optional[T any](path string, into **T) error {
	v := new(T)
	err := readJSON(path, v)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		*into = v
	}
	return err
}

// finished says whether the summary is of the last step.
func (r *run) finished() bool { return r.summary != nil && r.summary.Steps >= r.journal.step }

// total is the number of steps of the whole run, 0 if that is not known yet.
func (r *run) total() int {
	if r.summary != nil && r.finished() {
		return r.summary.Steps
	}
	if r.journal.epoch <= 0 {
		return 0
	}
	return int(math.Round(r.settings.Epochs * float64(r.journal.step) / r.journal.epoch))
}

// student is the name of the architecture.
func (r *run) student() string {
	var name string
	if json.Unmarshal(r.settings.Student, &name) == nil {
		return name
	}
	var named struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(r.settings.Student, &named)
	return named.Name
}

func (r *run) answer() string {
	j := r.journal
	who := strings.TrimSpace(r.student() + " trained against " + r.settings.Teacher)
	switch {
	case r.diverged != nil:
		return fmt.Sprintf("%s was given up at step %s: %s.", who, count(r.diverged.Step), r.diverged.Reason)
	case j.lines == 0 && r.summary == nil:
		return who + " has logged no step yet."
	case r.finished():
		text := fmt.Sprintf("%s is finished: %s in %s", who, many(r.summary.Steps, "step"), many(r.summary.Epochs, "epoch"))
		return text + fmt.Sprintf(", final loss %s%s.", brief(r.summary.FinalLoss), r.validated())
	}
	text := fmt.Sprintf("%s is at step %s", who, count(j.step))
	if total := r.total(); total > 0 {
		text += fmt.Sprintf(" of %s (%s)", count(total), percent(float64(j.step)/float64(total), 0))
		if left := float64(total-j.step) * j.seconds / float64(max(j.step, 1)); left > 0 && j.rate.count > 0 {
			text += ", about " + duration(left) + " to go"
		}
	}
	text += fmt.Sprintf("; the loss is %s%s", brief(j.loss), r.validated())
	if info, err := os.Stat(r.file("metrics.jsonl")); err == nil {
		text += ", last written " + info.ModTime().UTC().Format(time.DateTime) + " UTC"
	}
	return text + "."
}

// file is the path of a file of the run's folder.
func (r *run) file(name string) string { return filepath.Join(r.path, name) }

// validated is the last validation in words, "" without one.
func (r *run) validated() string {
	if c := r.journal.val["accuracy"]; c != nil {
		return ", validation accuracy " + percent(c.last, 2)
	}
	for _, name := range slices.Sorted(maps.Keys(r.journal.val)) {
		return ", validation " + name + " " + brief(r.journal.val[name].last)
	}
	return ""
}

func (r *run) warnings() (list []string) {
	j := r.journal
	warn := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if d := r.diverged; d != nil {
		warn("The run was given up at step %s: %s.", count(d.Step), d.Reason)
		for _, bad := range []struct {
			what  string
			names []string
		}{{"parameters", d.Parameters}, {"gradients", d.Gradients}} {
			if len(bad.names) > 0 {
				warn("%s of %d %s are not finite, from %s on.", "Values", len(bad.names), bad.what, bad.names[0])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(j.train)) {
		c := j.train[name]
		most := 0.0
		for _, p := range c.points {
			most = max(most, p.High)
		}
		switch kind := tail(name); {
		case kind == "dropped" && most > 0:
			warn("Up to %s rows of a step were dropped (%s): the teacher has no usable embedding of them.", brief(most), name)
		case kind == "skipped" && c.last > 0:
			warn("%s steps were skipped, as their gradient was not finite.", brief(c.last))
		}
	}
	if r.finished() && r.summary.SkippedSteps > 0 && j.train["skipped"] == nil {
		warn("%s skipped, as their gradient was not finite.", many(r.summary.SkippedSteps, "step"))
	}
	if j.bad > 0 {
		warn("%s of metrics.jsonl cannot be read and are left out.", many(j.bad, "line"))
	}
	if j.lost {
		warn("metrics.jsonl has more than %d figures; the others are left out.", maxCurves)
	}
	return list
}

// tail is the last element of a figure's name: "dropped" of "cosine.dropped".
func tail(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// outcome are the figures of a finished run.
func (r *run) outcome() Section {
	s := Section{ID: "outcome", Title: "Outcome"}
	if !r.finished() {
		return s
	}
	sum := r.summary
	list := facts(
		Fact{"Steps", fmt.Sprintf("%s in %s", count(sum.Steps), many(sum.Epochs, "epoch"))},
		Fact{"Final loss", brief(sum.FinalLoss)},
		Fact{"Parameters", count(sum.Parameters)},
		Fact{"Trained on", strings.TrimSpace(fmt.Sprintf("%s, %s, libtorch %s", sum.Device, sum.Precision, sum.Torch))},
		Fact{"Time", duration(r.journal.seconds)},
	)
	if sum.BestStep > 0 {
		list = append(list, Fact{"Best step", count(sum.BestStep)})
	}
	for _, name := range slices.Sorted(maps.Keys(sum.Validation)) {
		list = append(list, Fact{"Validation " + name, brief(sum.Validation[name])})
	}
	s.Blocks = []Block{{Facts: list}}
	return s
}

// losses are the loss and its terms, the learning rate and the gradient.
func (r *run) losses() Section {
	s := Section{ID: "loss", Title: "Loss", Lead: "A line is the mean of the steps that a point stands for, the band behind it their range."}
	return r.charts(s, r.journal.train, func(name string) bool { return !counted(name) && !paced(name) })
}

func (r *run) validation() Section {
	return r.charts(Section{ID: "validation", Title: "Validation"}, r.journal.val, func(string) bool { return true })
}

// mining are what losses count: pairs, hard ones, rows without a target, the bank.
func (r *run) mining() Section {
	return r.charts(Section{ID: "mining", Title: "Mining", Lead: "What the losses found in a step."}, r.journal.train, counted)
}

// counted says whether a figure is a number or share of things, and no term of the loss.
func counted(name string) bool {
	switch tail(name) {
	case "dropped", "bank", "pairs", "hard", "dead", "triplets", "positives", "negatives", "age", "active", "easy", "classes", "proxies":
		return true
	}
	return false
}

// paced says whether a figure is about the pace of the run.
func paced(name string) bool {
	return name == "lr" || name == "scale" || name == "skipped" || name == "gradient"
}

// speed has the learning rate and the gradient, and how fast the steps are.
func (r *run) speed() Section {
	curves := map[string]*curve{}
	for name, c := range r.journal.train {
		if paced(name) {
			curves[name] = c
		}
	}
	for name, c := range map[string]*curve{imagesPerSecond: &r.journal.rate, waitingShare: &r.journal.waits} {
		if c.count > 0 {
			curves[name] = c
		}
	}
	return r.charts(Section{ID: "pace", Title: "Pace"}, curves, func(string) bool { return true })
}

// Names of figures that a page reckons itself.
const (
	imagesPerSecond = "images per second"
	waitingShare    = "share of time waiting for crops"
)

// charts adds those figures to a section that are wanted, the loss first. What never changed
// needs no picture.
func (r *run) charts(s Section, curves map[string]*curve, wanted func(string) bool) Section {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(curves)), func(name string) bool { return !wanted(name) })
	slices.SortStableFunc(names, func(a, b string) int { return rank(a) - rank(b) })
	var charts []Chart
	var constant []Fact
	for _, name := range names {
		c := curves[name]
		if value, ok := c.constant(); ok && c.count > 1 {
			constant = append(constant, Fact{titled(name), brief(value) + " throughout"})
			continue
		}
		charts = append(charts, r.chart(titled(name), c))
	}
	if len(charts) > 0 {
		s.Blocks = append(s.Blocks, Block{Charts: charts})
	}
	if len(constant) > 0 {
		s.Blocks = append(s.Blocks, Block{Facts: constant})
	}
	return s
}

// titled is the name of a figure for people.
func titled(name string) string {
	switch name {
	case "lr":
		return "learning rate"
	case "scale":
		return "loss scale"
	}
	return name
}

// rank brings the most looked at to the front.
func rank(name string) int {
	if i := slices.Index([]string{"loss", "accuracy", "lr", imagesPerSecond}, name); i >= 0 {
		return i - 4
	}
	return 0
}

func (r *run) chart(title string, c *curve) Chart {
	l := plot.Lines{Title: title, X: "step", Series: []plot.Series{{Label: title, Points: c.points}}}
	first := 0.0
	if len(c.points) > 0 {
		first = c.points[0].Y
	}
	return drawn(l.SVG(), fmt.Sprintf("%s over steps: from %s to %s", title, brief(first), brief(c.last)))
}

// checkpoints are the files, the newest first.
func (r *run) checkpoints() Section {
	s := Section{ID: "checkpoints", Title: "Checkpoints"}
	files, _ := filepath.Glob(filepath.Join(glob(r.path), "checkpoints", "step-*.safetensors"))
	t := &Table{Head: "File", Columns: []Column{{Title: "Step"}, {Title: "Size"}, {Title: "Written (UTC)"}}}
	slices.Reverse(files)
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			continue
		}
		name := filepath.Base(file)
		step, _ := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "step-"), ".safetensors"))
		row := Row{Head: name, Cells: cells(count(step), size(info.Size()), info.ModTime().UTC().Format(time.DateTime))}
		if name == r.best {
			row.Note = "the best"
		}
		t.Rows = append(t.Rows, row)
	}
	if len(t.Rows) > 0 {
		s.Blocks = []Block{{Table: t.cut()}}
	}
	return s
}

// glob is a path of which filepath.Glob takes every character for itself.
func glob(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// options are all settings of the run.
func (r *run) options() Section {
	s := Section{ID: "settings", Title: "Settings", Folded: true}
	var options any
	if json.Unmarshal(r.manifest.Options, &options) != nil {
		return s
	}
	if list := flattened("", options, nil); len(list) > 0 {
		s.Blocks = []Block{{Facts: list}, {Title: "Run it again", Code: "pipe distill DATASET --config " + filepath.Join(r.path, "distill.yaml") + " --out OTHER"}}
	}
	return s
}

// flattened are the values of JSON with their paths; of a long list of values, as one.
func flattened(path string, v any, list []Fact) []Fact {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			list = flattened(strings.TrimPrefix(path+"."+key, "."), v[key], list)
		}
		return list
	case []any:
		for i, element := range v {
			if !isObject(element) || i == maxRows {
				break
			}
			list = flattened(fmt.Sprintf("%s[%d]", path, i), element, list)
		}
		if len(v) == 0 || isObject(v[0]) {
			return list
		}
	case float64:
		return append(list, Fact{path, strconv.FormatFloat(v, 'g', -1, 64)})
	case string:
		return append(list, Fact{path, v})
	}
	text, err := json.Marshal(v)
	if err != nil {
		return list
	}
	return append(list, Fact{path, string(text)})
}

func isObject(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

// origin are the digests of what the run was made of.
func (r *run) origin() Section {
	m := r.manifest
	return Section{ID: "digests", Title: "Digests", Folded: true, Blocks: []Block{{Facts: facts(
		Fact{"Folder", r.path}, Fact{"Crops", count(m.Rows)}, Fact{"Dataset", m.Dataset}, Fact{"Crops' digest", m.Crops},
		Fact{"Teacher's fingerprint", m.Teacher}, Fact{"Mirror images", strconv.FormatBool(m.Flip)}, Fact{"Begun with", m.Init},
	)}}}
}

// data is what programs find in the page.
func (r *run) data() any {
	figures := map[string][]plot.Sample{}
	for name, c := range r.journal.train {
		figures[name] = c.points
	}
	for name, c := range r.journal.val {
		figures["val_"+name] = c.points
	}
	return map[string]any{"run": r.path, "step": r.journal.step, "epoch": r.journal.epoch, "finished": r.finished(), "options": r.manifest.Options, "curves": figures}
}
