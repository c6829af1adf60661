package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"facepipe/eval/cost"
	"facepipe/ingest/align"
	"facepipe/ingest/detect"
	"facepipe/internal/embed"
	"facepipe/internal/imgcodec"
	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/schedule"
	"facepipe/student/export"
)

// Kinds of files that --model may name.
const (
	kindEmbedder = "embedder"
	kindStudent  = "student" // an embedder that pipe has trained
	kindDetector = "detector"
	kindOther    = "other" // an ONNX model that is none of these, or does not run
	kindNone     = "none"  // no ONNX model
)

// modelsSummary says of some files what they are.
type modelsSummary struct {
	Models []modelState `json:"models"`
}

// modelState says what a file is and what pipe would do with it.
type modelState struct {
	File   string `json:"file"`
	Kind   string `json:"kind"`
	Usable bool   `json:"usable"`
	// Reason says why it is not usable and, where that is known, what to do.
	Reason   string         `json:"reason,omitempty"`
	Model    *embed.File    `json:"model,omitempty"`
	Embedder *embedderState `json:"embedder,omitempty"`
	Detector *detectorState `json:"detector,omitempty"`
	// Commands are what to run next.
	Commands []string `json:"commands,omitempty"`
}

// embedderState is what was found out about a teacher or a student by running it.
type embedderState struct {
	Preprocess       embed.Preprocess `json:"preprocess"`
	PreprocessReason string           `json:"preprocess_reason"`
	// PreprocessOrigin says how far that can be relied on: assumed, found, stated or chosen.
	PreprocessOrigin string `json:"preprocess_origin"`
	// Guessed is whether nothing tells the preprocessing, so that the usual one is assumed.
	Guessed bool `json:"preprocess_guessed"`
	// Output is the name of the output that was chosen among several embeddings, and NormOutput
	// that of the one that embeddings of unit length are multiplied by.
	Output     string `json:"output,omitempty"`
	NormOutput string `json:"norm_output,omitempty"`
	Dim        int    `json:"dim"`
	Batch      int    `json:"batch"`
	// DependsOnBatch says how a crop's embedding depends on the other crops of a batch, which
	// is why they run one by one.
	DependsOnBatch string `json:"depends_on_batch,omitempty"`
	Provider       string `json:"provider"`
	// Multiplications are those for one crop; absent if they cannot be counted.
	Multiplications *cost.Multiplications `json:"multiplications,omitempty"`
	Timings         []embed.Timing        `json:"timings"`
	Notes           []string              `json:"notes,omitempty"`
	Training        *export.Note          `json:"training,omitempty"`

	origin embed.Origin
}

// detectorState is what was found out about a detector by running it.
type detectorState struct {
	Family string `json:"family"`
	Name   string `json:"name"`
	// Milliseconds are for a photograph in which it finds nothing, on one core.
	Milliseconds float64 `json:"ms_per_photograph"`
}

// runModels examines the files of --model.
func (o *doctorOptions) runModels(ctx context.Context, s *session) (*result, error) {
	var summary modelsSummary
	var unusable []string
	o.runtime.Library = s.onnxruntime
	for _, path := range o.models {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		state := o.examine(ctx, path)
		summary.Models = append(summary.Models, state)
		if !state.Usable {
			unusable = append(unusable, path)
		}
	}
	r := &result{summary, func(w io.Writer) { printModels(w, summary) }}
	if len(unusable) > 0 {
		return r, fmt.Errorf("doctor: cannot be used: %s", strings.Join(unusable, ", "))
	}
	return r, nil
}

// examine finds out what a file is.
func (o *doctorOptions) examine(ctx context.Context, path string) modelState {
	s := modelState{File: path, Kind: kindNone}
	err := s.read()
	if err == nil {
		s.Kind = kindOther
		if len(s.Model.Outputs) >= detectorOutputs && o.output == "" {
			err = s.tryDetector(o)
		} else {
			err = s.tryEmbedder(ctx, o)
		}
	}
	if s.Usable = err == nil; err != nil {
		s.Reason = s.why(err)
	}
	return s
}

// detectorOutputs are scores and boxes for three levels, the fewest of a detector that pipe
// knows. No embedder has so many outputs.
const detectorOutputs = 6

// read reads the file without running it.
func (s *modelState) read() (err error) {
	if info, err := os.Stat(s.File); err == nil && info.IsDir() {
		return s.folder()
	}
	s.Model, err = embed.Describe(s.File)
	return err
}

// folder is the error that a folder is no model, with what is in it.
func (s *modelState) folder() error {
	files, err := filepath.Glob(filepath.Join(s.File, "*.onnx"))
	if err != nil || len(files) == 0 {
		return errors.New("a folder, and no .onnx file is in it")
	}
	return fmt.Errorf("a folder: name a model in it: %s", strings.Join(files, ", "))
}

func (s *modelState) tryEmbedder(ctx context.Context, o *doctorOptions) error {
	if is := s.neighbour(); is != "" {
		return fmt.Errorf("a model for %s of insightface's packs, which pipe has no use for", is)
	}
	m, err := embed.Open(ctx, s.File, embed.Options{Preprocess: o.preprocess, Output: o.output, Crop: align.CropSize, Batch: o.batch, Runtime: o.runtime})
	if err != nil {
		return err
	}
	defer m.Close()
	e := &embedderState{Preprocess: m.Preprocess(), PreprocessReason: m.Reason(), PreprocessOrigin: m.Origin().String(), origin: m.Origin(),
		Guessed: m.Origin() == embed.Assumed, Output: m.Outputs().Embedding, NormOutput: m.Outputs().Norm, Dim: m.Dim(), Batch: m.Batch(),
		DependsOnBatch: m.BatchReason(), Provider: cmp.Or(o.runtime.Provider, ort.CPU),
		Notes: slices.DeleteFunc(m.Notes(), func(note string) bool { return note == m.BatchReason() })}
	if e.Multiplications, err = cost.Count(m); err != nil {
		e.Notes = append(e.Notes, err.Error())
	}
	if e.Timings, err = m.Time(); err != nil {
		return err
	}
	if e.Dim < fewestNumbers || e.Dim > mostNumbers {
		e.Notes = append(e.Notes, fmt.Sprintf("%d numbers are unusual for an embedding of a face: is this another model, or a classifier's output?", e.Dim))
	}
	s.Kind, s.Embedder = kindEmbedder, e
	s.readTraining()
	s.Commands = o.embedderCommands(s)
	return nil
}

// The lengths of embeddings that are in use.
const (
	fewestNumbers = 64
	mostNumbers   = 2048
)

// neighbours are the models that insightface's packs hold beside detector and teacher, by the
// side of the input and the length of the output.
var neighbours = map[[2]string]string{
	{"192", "212"}:  "106 landmarks",
	{"192", "3309"}: "68 landmarks in space",
	{"96", "3"}:     "gender and age",
}

// neighbour is what one of them is for; "" for any other model.
func (s *modelState) neighbour() string {
	if len(s.Model.Inputs) != 1 || len(s.Model.Outputs) != 1 {
		return ""
	}
	in, out := s.Model.Inputs[0].Shape, s.Model.Outputs[0].Shape
	if len(in) != 4 || len(out) == 0 {
		return ""
	}
	return neighbours[[2]string{in[3], out[len(out)-1]}]
}

// readTraining takes what pipe has written of a student's training.
func (s *modelState) readTraining() {
	text := s.Model.Model.Property(export.TrainingKey)
	if text == "" {
		return
	}
	s.Kind = kindStudent
	note := new(export.Note)
	if err := json.Unmarshal([]byte(text), note); err != nil {
		s.Embedder.Notes = append(s.Embedder.Notes, fmt.Sprintf("metadata %s: %v", export.TrainingKey, err))
		return
	}
	s.Embedder.Training = note
}

// embedderCommands use an embedder under the flags that it was tried under.
func (o *doctorOptions) embedderCommands(s *modelState) []string {
	var flags []string
	if o.preprocess != "auto" {
		flags = append(flags, "--preprocess", o.preprocess)
	}
	if o.output != "" {
		flags = append(flags, "--output", o.output)
	}
	if p := s.Embedder.Provider; p != ort.CPU {
		flags = append(flags, "--provider", p)
	}
	if o.runtime.AllowFallback {
		flags = append(flags, "--allow-fallback")
	}
	teach := append([]string{"precompute-teacher", "faces.ds", "--teacher", s.File, "--flip"}, flags...)
	judge := append([]string{"eval", "--model", s.File, "--dataset", "faces.ds", "--pairs", "pairs.txt", "--out", "report"}, flags...)
	commands := []string{schedule.ShellWords("pipe", teach), schedule.ShellWords("pipe", judge)}
	if s.Kind == kindStudent {
		slices.Reverse(commands)
	}
	return commands
}

// families finds the kinds of detectors in what --detector's help names.
var families = regexp.MustCompile(`(\w+)=FILE`)

// tryDetector tries the file as each kind of detector.
func (s *modelState) tryDetector(o *doctorOptions) error {
	var reasons []string
	for _, family := range families.FindAllStringSubmatch(detect.Help(), -1) {
		spec := detect.Spec{Kind: family[1], File: s.File}
		d, err := detect.Open(spec, detect.Options{Library: o.runtime.Library})
		if err != nil {
			why := strings.TrimPrefix(err.Error(), fmt.Sprintf("open detector %s=%s: ", spec.Kind, spec.File))
			if reasons = append(reasons, why); errors.Is(err, ort.ErrRuntime) {
				return err
			}
			continue
		}
		milliseconds, err := timeDetector(d)
		if err := errors.Join(err, d.Close()); err != nil {
			return err
		}
		s.Kind, s.Detector = kindDetector, &detectorState{Family: spec.Kind, Name: d.Name(), Milliseconds: milliseconds}
		s.Commands = []string{schedule.ShellWords("pipe", []string{"ingest", "--source", "folder=photos", "--detector", spec.Kind + "=" + s.File, "--out", "faces.ds"})}
		return nil
	}
	slices.Sort(reasons)
	return errors.New(strings.Join(slices.Compact(reasons), "; "))
}

// timeDetector is the median of some runs on a photograph without a face.
func timeDetector(d *detect.Detector) (milliseconds float64, err error) {
	const runs = 5
	photo := imgcodec.NewImage(emptyWidth, emptyHeight)
	var times []time.Duration
	for range runs {
		begun := time.Now()
		if _, err := d.Detect(photo); err != nil {
			return 0, err
		}
		times = append(times, time.Since(begun))
	}
	slices.Sort(times)
	return float64(times[runs/2]) / float64(time.Millisecond), nil
}

// The size of the photograph that detectors are timed on.
const emptyWidth, emptyHeight = 640, 480

// why puts an error in a user's words: the file is named already.
func (s *modelState) why(err error) string {
	text := err.Error()
	for _, before := range []string{"open model: ", "open model " + s.File + ": ", "read " + s.File + ": ", "open " + s.File + ": "} {
		text = strings.TrimPrefix(text, before)
	}
	switch {
	case errors.Is(err, ort.ErrRuntime):
		return text
	case s.Model != nil && s.looksLikeDetector():
		return text + "; it looks like a detector: pipe takes SCRFD with landmarks (names end in kps) and YuNet of 2023 or later"
	case errors.Is(err, onnx.ErrFormat) && !strings.HasPrefix(text, onnx.ErrFormat.Error()+" but "):
		return text + "; an .onnx file that is damaged or cut short gives this, too: get it again and compare its size"
	}
	return text
}

// looksLikeDetector is whether one of several outputs lists boxes, or boxes with landmarks.
func (s *modelState) looksLikeDetector() bool {
	outs := s.Model.Outputs
	return len(outs) >= detectorOutputs || len(outs) > 1 && slices.ContainsFunc(outs, func(v embed.Value) bool {
		return len(v.Shape) > 1 && slices.Contains([]string{"4", "14"}, v.Shape[len(v.Shape)-1])
	})
}

func printModels(w io.Writer, s modelsSummary) {
	for i, m := range s.Models {
		if i > 0 {
			fmt.Fprintln(w)
		}
		m.print(w)
	}
}

// print prints a model as a line with its name and a part a line.
func (s *modelState) print(w io.Writer) {
	fmt.Fprintln(w, s.File)
	printPart(w, "  kind", s.title())
	if s.Model != nil {
		printFile(w, s.Model)
	}
	if s.Embedder != nil {
		printEmbedder(w, s.Embedder)
	}
	if d := s.Detector; d != nil {
		printPart(w, "  runs", d.Name)
		printPart(w, "  time", fmt.Sprintf("%.3g ms for a photograph of %dx%d without a face, on one core", d.Milliseconds, emptyWidth, emptyHeight))
	}
	if !s.Usable {
		printPart(w, "  usable", "no: "+s.Reason)
		return
	}
	printPart(w, "  usable", "yes, for instance")
	for _, command := range s.Commands {
		fmt.Fprintf(w, "    %s\n", command)
	}
}

// title is the kind in words.
func (s *modelState) title() string {
	switch s.Kind {
	case kindDetector:
		return "face detector, " + s.Detector.Family
	case kindEmbedder:
		return "face embedder: a teacher, or a model to evaluate"
	case kindStudent:
		return "face embedder, a student of pipe"
	case kindOther:
		return "ONNX model"
	}
	return "no ONNX model"
}

func printFile(w io.Writer, f *embed.File) {
	printPart(w, "  file", fmt.Sprintf("%s, SHA-256 %s", byteSize(f.Bytes), f.Digest))
	printPart(w, "  made by", fmt.Sprintf("%s, opset %d, IR %d", cmp.Or(f.Producer, "unknown"), f.Opset, f.IR))
	printValues(w, "input", f.Inputs)
	printValues(w, "output", f.Outputs)
	printPart(w, "  parameters", count(f.Parameters))
	for _, key := range slices.Sorted(maps.Keys(f.Says)) {
		printPart(w, "  "+key, f.Says[key])
	}
}

// printValues prints inputs or outputs; of many, those that begin and end the list.
func printValues(w io.Writer, name string, values []embed.Value) {
	const shown = 4
	for i, v := range values {
		if i == shown-1 && len(values) > shown {
			printPart(w, "", fmt.Sprintf("and %d more", len(values)-i))
			return
		}
		if i > 0 {
			name = ""
		}
		printPart(w, strings.TrimRight("  "+name, " "), v.String())
	}
}

func printEmbedder(w io.Writer, e *embedderState) {
	if t := e.Training; t != nil {
		printPart(w, "  trained", fmt.Sprintf("%s, %d steps with %s, teacher %s, by %s", t.Student, t.Steps, t.Loss, cmp.Or(t.Teacher, "none"), cmp.Or(t.Program, "pipe")))
	}
	printPart(w, "  contract", fmt.Sprintf("%v; %s", e.Preprocess, e.PreprocessReason))
	printPart(w, "", "("+reliance[e.origin]+")")
	printPart(w, "  embedding", fmt.Sprintf("%d numbers", e.Dim))
	if e.Multiplications != nil {
		printPart(w, "  multiplies", e.Multiplications.String())
	}
	printPart(w, "  rows", e.rows())
	var times []string
	for _, t := range e.Timings {
		if t.Batch == 1 {
			times = append(times, fmt.Sprintf("%.3g ms alone", t.Milliseconds))
		} else {
			times = append(times, fmt.Sprintf("%.3g ms in batches of %d", t.Milliseconds, t.Batch))
		}
	}
	printPart(w, "  time a crop", strings.Join(times, ", ")+", on "+e.Provider)
	for _, note := range e.Notes {
		printPart(w, "  note", note)
	}
}

// reliance says how far a contract can be relied on, and what is done about that.
var reliance = map[embed.Origin]string{
	embed.Assumed: "a guess: precompute-teacher and eval try the usual ones on your faces and take what is measured",
	embed.Found:   "by the graph, with RGB as a guess: precompute-teacher and eval try the others on your faces; they take BGR if it is better, and stop if another scaling is",
	embed.Stated:  "by the publisher: precompute-teacher and eval try the others on your faces, and stop if another is better",
	embed.Chosen:  "by you: precompute-teacher and eval keep it, and warn if another does better on your faces",
}

// rows says whether an embedding depends on the batch.
func (e *embedderState) rows() string {
	switch {
	case e.DependsOnBatch != "":
		return e.DependsOnBatch + "; an export in evaluation mode may run larger ones"
	case e.Batch == 1:
		return "one crop a run"
	}
	return fmt.Sprintf("independent of each other, tried in batches of %d", e.Batch)
}

// count is a number of parameters for people.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f billion", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.2f million", float64(n)/1e6)
	}
	return fmt.Sprint(n)
}
