package study

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/npy"
	"facepipe/internal/ort"
	"facepipe/store"
	"facepipe/student"
)

// falseAccepts are the rates at which true accept rates are told, as far as a test has
// comparisons enough.
var falseAccepts = []float64{1e-1, 1e-2, 1e-3, 1e-4}

// figures is figures.json: what a row came to.
type figures struct {
	// Tests has figures by the name of the test, and Validation the run's own last ones.
	Tests      map[string]map[string]float64 `json:"tests"`
	Validation map[string]float64            `json:"validation,omitempty"`
	// Step is that of the checkpoint which was chosen on the validation, 0 for the last.
	Step int `json:"step,omitempty"`
	cost
}

// cost is what a row took.
type cost struct {
	Parameters     int     `json:"parameters"`
	SecondsPerStep float64 `json:"seconds_per_step"`
	Hours          float64 `json:"hours"`
	PeakMiB        float64 `json:"peak_mib"`
}

// test is an opened set of pairs.
type test struct {
	Test
	set      faces.Set
	protocol protocol.Verification
}

// openTests opens the tests, the validation first.
func (r *runner) openTests(ctx context.Context) error {
	all := r.Tests
	if r.Validation != nil {
		all = append([]Test{*r.Validation}, all...)
	}
	for _, t := range all {
		one, err := openTest(ctx, t)
		if err != nil {
			return fmt.Errorf("test %s: %w", t.Name, err)
		}
		r.tests = append(r.tests, one)
		one.protocol.Describe().PrintNotes(r.o.Progress)
	}
	return nil
}

func openTest(ctx context.Context, t Test) (*test, error) {
	if t.Bin != "" {
		bin, err := faces.OpenBin(ctx, t.Bin)
		if err != nil {
			return nil, err
		}
		p, err := protocol.OfBin(ctx, bin, protocol.Options{})
		if err != nil {
			return nil, errors.Join(err, bin.Close())
		}
		return &test{t, bin, p}, nil
	}
	set, err := faces.Open(t.Dataset)
	if err != nil {
		return nil, err
	}
	p, err := protocol.Pairs.Load(ctx, set, t.Pairs, protocol.Options{})
	if err != nil {
		return nil, errors.Join(err, set.Close())
	}
	return &test{t, set, p.(protocol.Verification)}, nil
}

// close lets go of the tests.
func (r *runner) close() (err error) {
	for _, t := range r.tests {
		err = errors.Join(err, t.set.Close())
	}
	return err
}

// validation lets the trainer score a student on the test.
func (t *test) validation() *student.Validation {
	ds := t.set.(*faces.Dataset).Dataset()
	var crops []store.Location
	for _, place := range t.protocol.Faces() {
		crops = append(crops, ds.Locate(place))
	}
	better := map[string]int{}
	for _, f := range verification.Figures(nil) {
		better[f.Name] = f.Better
	}
	return &student.Validation{Dataset: ds, Crops: crops, Better: better, Score: func(embeddings [][]float32) (map[string]float64, error) {
		result, err := t.protocol.Evaluate(context.Background(), protocol.Rows(embeddings), protocol.Settings{})
		if err != nil {
			return nil, err
		}
		return valuesOf(*result.Verification), nil
	}}
}

// valuesOf are the figures of a result by their names.
func valuesOf(r verification.Result) map[string]float64 {
	values := map[string]float64{}
	for _, f := range verification.Figures(falseAccepts) {
		if v, text := f.Of(r); text != "" {
			values[f.Name] = v
		}
	}
	return values
}

// measure tests a model, with mirrored crops added, and puts its scores into the row's folder.
func (r *runner) measure(ctx context.Context, dir, model string, f *figures) (err error) {
	m, err := embed.Open(model, embed.Options{Crop: r.tests[0].set.CropSize(), Runtime: ort.Options{Library: r.o.ONNXRuntime, Threads: r.o.Machine.Threads}})
	if err != nil {
		return err
	}
	defer m.Close()
	f.Tests = map[string]map[string]float64{}
	for _, t := range r.tests {
		places := t.protocol.Faces()
		rows := make(protocol.Rows, len(places))
		_, err := m.Stream(ctx, len(places), func(i int, rgb []byte) error { return t.set.Decode(places[i], rgb) }, func(i int, both [][]float32) error {
			rows[i] = make([]float32, len(both[0]))
			for k := range rows[i] {
				rows[i][k] = both[0][k] + both[1][k]
			}
			return nil
		}, embed.StreamOptions{Flips: []bool{false, true}})
		if err != nil {
			return err
		}
		result, err := t.protocol.Evaluate(ctx, rows, protocol.Settings{FAR: falseAccepts, Distances: true})
		if err != nil {
			return fmt.Errorf("test %s: %w", t.Name, err)
		}
		f.Tests[t.Name] = valuesOf(*result.Verification)
		if err := t.writeScores(dir, result.Distances); err != nil {
			return err
		}
	}
	return nil
}

// scoresPath is where a row keeps the distances of a test's comparisons.
func (t *test) scoresPath(dir string) string { return filepath.Join(dir, "scores-"+t.Name+".npy") }

func (t *test) writeScores(dir string, distances []float64) error {
	data := npy.AppendHeader(nil, npy.Float64, len(distances))
	for _, d := range distances {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(d))
	}
	return durable.WriteFile(t.scoresPath(dir), data, 0o644)
}

// readScores gives a row's comparisons back.
func (t *test) readScores(dir string) (*verification.Scores, error) {
	path := t.scoresPath(dir)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file := bytes.NewReader(data)
	header, err := npy.ReadHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", store.ErrDamaged, path, err)
	}
	distances := data[len(data)-file.Len():]
	if header.Descr != npy.Float64 || len(header.Shape) != 1 || header.Shape[0]*8 != len(distances) {
		return nil, fmt.Errorf("%w: %s: not the distances of %s", store.ErrDamaged, path, t.Name)
	}
	same := 0
	for c := range t.protocol.Comparisons() {
		if c.Same {
			same++
		}
	}
	scores := verification.NewScores(same, header.Shape[0]-same, t.protocol.Folds().Count)
	identities := t.protocol.Pool(make([][]float32, len(t.protocol.Faces()))).Identities
	for c := range t.protocol.Comparisons() {
		if len(distances) < 8 {
			return nil, fmt.Errorf("%w: %s: too few distances for %s", store.ErrDamaged, path, t.Name)
		}
		d := math.Float64frombits(binary.LittleEndian.Uint64(distances))
		if !(d >= 0 && d <= verification.MaxDistance) {
			return nil, fmt.Errorf("%w: %s: %g is no distance", store.ErrDamaged, path, d)
		}
		scores.Add(verification.Trial{Distance: d, Same: c.Same, First: identities[c.First], Second: identities[c.Second], Fold: c.Fold})
		distances = distances[8:]
	}
	return scores, nil
}
