package eval

import (
	"cmp"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"

	"facepipe/eval/faces"
	"facepipe/eval/protocol"
	"facepipe/eval/report"
	"facepipe/eval/verification"
	"facepipe/internal/durable"
	"facepipe/internal/imgcodec"
)

// worstOfKind is the number of false accepts, and of false rejects, that a report shows.
const worstOfKind = 12

// worstFAR is the false accept rate at which errors are shown, where it can be measured.
const worstFAR = 1e-3

// addWorst finds the worst errors of each model on a test, and writes their crops.
func addWorst(o Options, t *test, v protocol.Verification, of []measurement, r *report.Report) error {
	of = slices.DeleteFunc(slices.Clone(of), func(m measurement) bool { return m.Distances == nil })
	templates := v.Pool(make([][]float32, len(v.Faces())))
	files := faceFiles{out: o.Out, set: t.set}
	for _, m := range of {
		w, _ := thresholdOf(r.Models[m.model])
		if w == nil {
			continue
		}
		accepts, rejects := worstPairs(v, m.Distances, w.Threshold)
		for _, kind := range []struct {
			places []placed
			to     *[]report.WorstPair
		}{{accepts, &w.FalseAccepts}, {rejects, &w.FalseRejects}} {
			for _, p := range kind.places {
				pair := report.WorstPair{First: templates.Names[p.First], Second: templates.Names[p.Second]}
				for _, other := range of {
					pair.Cosines = append(pair.Cosines, verification.Cosine(other.Distances[p.at]))
				}
				var err error
				if pair.FirstFace, err = files.write(t.Faces()[t.faceOf(templates, p.First)]); err != nil {
					return err
				}
				if pair.SecondFace, err = files.write(t.Faces()[t.faceOf(templates, p.Second)]); err != nil {
					return err
				}
				*kind.to = append(*kind.to, pair)
			}
		}
		r.Models[m.model].Worst = w
	}
	return nil
}

// thresholdOf is the threshold at which a model's errors are shown: that of the largest false
// accept rate that is told and is no more than worstFAR, the target, else of the best accuracy.
func thresholdOf(m report.Model) (w *report.Worst, target float64) {
	w = &report.Worst{FalseAccepts: []report.WorstPair{}, FalseRejects: []report.WorstPair{}}
	for _, p := range m.OperatingPoints {
		if p.Target <= worstFAR {
			w.Threshold, w.Chosen = p.Threshold, "FMR "+p.Name()
			w.ThresholdCosine = verification.Cosine(w.Threshold)
			return w, p.Target
		}
	}
	if m.CrossValidation == nil {
		return nil, 0
	}
	w.Threshold, w.ThresholdCosine, w.Chosen = m.Threshold, m.ThresholdCosine, "best accuracy"
	return w, 0
}

// placed is a comparison and its place.
type placed struct {
	protocol.Comparison
	at int
}

// worstPairs are the errors at a threshold, the worst first.
func worstPairs(v protocol.Verification, distances []float64, threshold float64) (accepts, rejects []placed) {
	at := 0
	for c := range v.Comparisons() {
		switch d := distances[at]; {
		case !c.Same && d < threshold:
			accepts = append(accepts, placed{c, at})
		case c.Same && d >= threshold:
			rejects = append(rejects, placed{c, at})
		}
		at++
	}
	first := func(list []placed, sign int) []placed {
		slices.SortStableFunc(list, func(a, b placed) int { return sign * cmp.Compare(distances[a.at], distances[b.at]) })
		return list[:min(worstOfKind, len(list))]
	}
	return first(accepts, 1), first(rejects, -1)
}

// facesFolder is the folder in a report's that has crops, of at most maxFace pixels.
const (
	facesFolder = "faces"
	maxFace     = 112
	faceQuality = 90
)

// faceFiles writes faces of a set into a report's folder.
type faceFiles struct {
	out     string // "" for none
	set     faces.Set
	written map[int]string // by place
}

// write writes a face as a small JPEG, once, and returns its path in the report's folder, ""
// where there is no folder or no image. Its name is a digest of the set and the key.
func (f *faceFiles) write(place int) (string, error) {
	if f.out == "" || f.set.CropSize() == 0 {
		return "", nil
	}
	if name, done := f.written[place]; done {
		return name, nil
	}
	head, err := f.set.Head(place)
	if err != nil {
		return "", err
	}
	if f.written == nil {
		f.written = map[int]string{}
		if err := durable.MkdirBelow(f.out, facesFolder, 0o755); err != nil {
			return "", err
		}
	}
	img := imgcodec.NewImage(f.set.CropSize(), f.set.CropSize())
	if err := f.set.Decode(place, img.Pix); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(f.set.Describe().Digest + "\x00" + head.Key))
	name := facesFolder + "/" + hex.EncodeToString(sum[:12]) + ".jpg"
	f.written[place] = name
	return name, durable.Replace(filepath.Join(f.out, filepath.FromSlash(name)), imgcodec.EncodeJPEG(smaller(img), faceQuality), 0o644)
}

// smaller is a picture of at most maxFace pixels a side: the means of equal parts.
func smaller(img *imgcodec.Image) *imgcodec.Image {
	if img.W <= maxFace {
		return img
	}
	out := imgcodec.NewImage(maxFace, maxFace)
	for y := range maxFace {
		for x := range maxFace {
			left, right := x*img.W/maxFace, (x+1)*img.W/maxFace
			top, bottom := y*img.H/maxFace, (y+1)*img.H/maxFace
			for c := range 3 {
				sum := 0
				for v := top; v < bottom; v++ {
					for u := left; u < right; u++ {
						sum += int(img.Pix[3*(v*img.W+u)+c])
					}
				}
				n := (right - left) * (bottom - top)
				out.Pix[3*(y*maxFace+x)+c] = byte((sum + n/2) / n)
			}
		}
	}
	return out
}

// writeScores writes every comparison as a line: the test, the keys, 1 for one person, the fold
// from 1, empty without folds, and a cosine of each subject, empty where it was not measured.
func writeScores(path string, s *tests, measured []measurement, r report.Report) (err error) {
	f, err := durable.Stage(path)
	if err != nil {
		return fmt.Errorf("write scores: %w", err)
	}
	defer f.Abort()
	out := csv.NewWriter(f)
	var subjects []string
	for _, m := range measured {
		if name := r.Models[m.model].Model; !slices.Contains(subjects, name) {
			subjects = append(subjects, name)
		}
	}
	if err := out.Write(append([]string{"test", "first", "second", "same", "fold"}, subjects...)); err != nil {
		return fmt.Errorf("write scores: %w", err)
	}
	for _, t := range s.all {
		v, ok := t.Protocol.(protocol.Verification)
		if !ok {
			continue
		}
		columns := make([][]float64, len(subjects))
		for _, m := range measured {
			if m.test == t {
				columns[slices.Index(subjects, r.Models[m.model].Model)] = m.Distances
			}
		}
		if err := writeComparisons(out, t.name, v, columns); err != nil {
			return fmt.Errorf("write scores: %w", err)
		}
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write scores: %w", err)
	}
	return f.Commit()
}

// writeComparisons writes the lines of a test.
func writeComparisons(out *csv.Writer, name string, v protocol.Verification, columns [][]float64) error {
	names := v.Pool(make([][]float32, len(v.Faces()))).Names
	folds := v.Folds().Count > 0
	line := make([]string, 5+len(columns))
	at := 0
	for c := range v.Comparisons() {
		line[0], line[1], line[2], line[3], line[4] = name, names[c.First], names[c.Second], "0", ""
		if c.Same {
			line[3] = "1"
		}
		if folds {
			line[4] = strconv.Itoa(int(c.Fold) + 1)
		}
		for k, distances := range columns {
			line[5+k] = ""
			if distances != nil {
				line[5+k] = strconv.FormatFloat(verification.Cosine(distances[at]), 'g', -1, 64)
			}
		}
		if err := out.Write(line); err != nil {
			return err
		}
		at++
	}
	return nil
}
