package study

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"facepipe/eval"
	"facepipe/eval/protocol"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/embed"
	"facepipe/internal/npy"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
	"facepipe/internal/seal"
	"facepipe/store"
)

// falseAccepts are the rates at which true accept rates are told, as far as a test has
// comparisons enough.
var falseAccepts = []float64{1e-1, 1e-2, 1e-3, 1e-4}

// figures is figures.json: what a row came to.
type figures struct {
	// Measured is the digest of the tests, and of which weights were tested; "" while that is done.
	Measured string `json:"measured"`
	// Tests has figures by the name of the test, and Validation the run's own last ones.
	Tests map[string]map[string]float64 `json:"tests"`
	// Scores are the SHA-256 of the files of scores, by their names; nil in studies of older versions.
	Scores     map[string]string  `json:"scores,omitempty"`
	Validation map[string]float64 `json:"validation,omitempty"`
	// Step is that of the checkpoint which was chosen on the validation, 0 for the last.
	Step int `json:"step,omitempty"`
	cost
}

// cost is what a row took.
type cost struct {
	// Row is the digest of the row; "" in studies of older versions.
	Row            string  `json:"row,omitempty"`
	Parameters     int     `json:"parameters"`
	SecondsPerStep float64 `json:"seconds_per_step"`
	Hours          float64 `json:"hours"`
	// PeakMiB of the process that trained the row; 0 where that was killed before it could tell.
	PeakMiB float64 `json:"peak_mib"`
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

// measure tests a model, with mirrored crops added, and puts its scores into a folder.
func (r *runner) measure(ctx context.Context, dir, model string, f *figures) (err error) {
	var m *embed.Model
	defer func() {
		if m != nil {
			m.Close()
		}
	}()
	size := 0
	var rows protocol.Rows // of the test before
	f.Measured, f.Tests, f.Scores = r.measured, map[string]map[string]float64{}, map[string]string{}
	for _, t := range r.tests {
		if side := t.set.CropSize(); side != size {
			if m != nil {
				m.Close()
			}
			if m, err = embed.Open(ctx, model, embed.Options{Crop: side, Runtime: ort.Options{Library: r.o.ONNXRuntime, Threads: r.o.Machine.Threads}}); err != nil {
				return err
			}
			size = side
		}
		if !t.again {
			if rows, err = t.embed(ctx, m); err != nil {
				return fmt.Errorf("test %s: %w", t.Name, err)
			}
		}
		result, err := t.protocol.Evaluate(ctx, rows, protocol.Settings{FAR: falseAccepts, Distances: true})
		if err != nil {
			return fmt.Errorf("test %s: %w", t.Name, err)
		}
		f.Tests[t.Name] = valuesOf(*result.Verification)
		if f.Scores[t.scoresFile()], err = t.writeScores(dir, result.Distances); err != nil {
			return err
		}
	}
	return nil
}

// embed gives the test's faces their embeddings, those of the mirrored crops added.
func (t *test) embed(ctx context.Context, m *embed.Model) (protocol.Rows, error) {
	places := t.protocol.Faces()
	rows := make(protocol.Rows, len(places))
	_, err := m.Stream(ctx, len(places), func(i int, rgb []byte) error { return t.set.Decode(places[i], rgb) }, func(i int, both [][]float32) error {
		rows[i] = eval.Sum(both)
		return nil
	}, embed.StreamOptions{Flips: eval.Flips(true)})
	return rows, err
}

// scoresFile is in which a row keeps the distances of a test's comparisons.
func (t *test) scoresFile() string {
	return "scores-" + strings.ReplaceAll(t.Name, cleanSuffix, "+clean") + ".npy"
}

// writeScores writes them; digest is the file's.
func (t *test) writeScores(dir string, distances []float64) (digest string, err error) {
	data := npy.AppendHeader(nil, npy.Float64, len(distances))
	for _, d := range distances {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(d))
	}
	return seal.Digits(data), durable.WriteFile(filepath.Join(dir, t.scoresFile()), data, 0o644)
}

// maxScores is the longest file of comparisons, in bytes: 8 for each.
const maxScores = 2 << 30

// readScores gives a row's comparisons back. Of damage the error says how they are made anew.
func (t *test) readScores(dir string, f figures) (scores *verification.Scores, err error) {
	data, err := f.scores(dir, t.scoresFile())
	if err == nil {
		scores, err = t.parseScores(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w; remove %s, and the row is measured again", store.ErrDamaged, filepath.Join(dir, t.scoresFile()), err, filepath.Join(dir, figuresFile))
	}
	return scores, nil
}

// scores is the content of a file of scores, which the figures know. Errors do not name it.
func (f *figures) scores(dir, name string) ([]byte, error) {
	data, err := regular.ReadOwn(filepath.Join(dir, name), maxScores)
	if err != nil {
		return nil, regular.Reason(err)
	}
	if f.Scores != nil && f.Scores[name] != seal.Digits(data) {
		return nil, fmt.Errorf("is not what was written with %s", figuresFile)
	}
	return data, nil
}

// parseScores reads the distances of a file, which has one for each comparison.
func (t *test) parseScores(data []byte) (*verification.Scores, error) {
	file := bytes.NewReader(data)
	header, err := npy.ReadHeader(file)
	if err != nil {
		return nil, err
	}
	distances := data[len(data)-file.Len():]
	if header.Descr != npy.Float64 || len(header.Shape) != 1 || header.Shape[0]*8 != len(distances) {
		return nil, fmt.Errorf("not the distances of %s", t.Name)
	}
	same, all := 0, 0
	for c := range t.protocol.Comparisons() {
		if all++; c.Same {
			same++
		}
	}
	if all != header.Shape[0] {
		return nil, fmt.Errorf("%d distances of %d comparisons", header.Shape[0], all)
	}
	scores := verification.NewScores(same, header.Shape[0]-same, t.protocol.Folds().Count)
	identities := t.protocol.Pool(make([][]float32, len(t.protocol.Faces()))).Identities
	for c := range t.protocol.Comparisons() {
		d := math.Float64frombits(binary.LittleEndian.Uint64(distances))
		if !(d >= 0 && d <= verification.MaxDistance) {
			return nil, fmt.Errorf("%g is no distance", d)
		}
		scores.Add(verification.Trial{Distance: d, Same: c.Same, First: identities[c.First], Second: identities[c.Second], Fold: c.Fold})
		distances = distances[8:]
	}
	return scores, nil
}
