// Package agreement says how far two models agree on the faces and comparisons of a test: a
// student and its teacher, or two precisions of one model.
//
// Where their embeddings have one dimension, as a student's and its teacher's may, each face's two
// embeddings are compared. Two spaces that have nothing to do with each other still order pairs of
// faces by likeness: the rank correlation of these orders is the measure, and the pairs that one
// model finds much more alike than the other are worth a look.
package agreement

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"facepipe/eval/protocol"
	"facepipe/internal/vec"
)

// Sizes of a [Result].
const (
	// listed are the pairs that differ most.
	listed = 20
	// maxPairs are compared; of more every n-th is.
	maxPairs = 1 << 20
)

// Result says how far two models agree.
type Result struct {
	// A and B name the models; [Of] leaves them to its caller.
	A string `json:"a"`
	B string `json:"b"`
	// Faces that both models embedded usably, and Unusable others.
	Faces    int `json:"faces"`
	Unusable int `json:"unusable"`
	// Cosine is of each face's two embeddings, nil where they have two dimensions.
	Cosine *Cosine `json:"cosine,omitempty"`
	// Pairs of templates that were compared: Same of one person, Different of two.
	Pairs     int `json:"pairs"`
	Same      int `json:"same"`
	Different int `json:"different"`
	// Agreement is of the cosines of pairs.
	vec.Agreement
	// Differ are the pairs on which the models differ most, the first most of all.
	Differ []Pair   `json:"differ"`
	Notes  []string `json:"notes,omitempty"`
}

// Cosine sums up the cosines, -1 to 1, of the faces' two embeddings.
type Cosine struct {
	Mean float64 `json:"mean"`
	// Percentile1 is the cosine that one face in a hundred is at or below.
	Percentile1 float64 `json:"percentile_1"`
	Min         float64 `json:"min"`
	// MinKey is the face that has it.
	MinKey string `json:"min_key"`
}

// Pair is a comparison by two models.
type Pair struct {
	First   string  `json:"first"`
	Second  string  `json:"second"`
	Same    bool    `json:"same"`
	CosineA float64 `json:"cosine_a"`
	CosineB float64 `json:"cosine_b"`
	// Difference is how much larger B's cosine is than A's lets expect, by the straight line of
	// least squares through all pairs: two models' cosines are of two scales.
	Difference float64 `json:"difference"`
}

// Of compares two models' embeddings of a protocol's faces, one for each; a row is nil, or without
// a direction, where a model gave none of use. key names a face.
func Of(p protocol.Verification, a, b protocol.Rows, key func(face int) (string, error)) (Result, error) {
	r := Result{Differ: []Pair{}}
	if n := len(p.Faces()); len(a) != n || len(b) != n {
		return r, fmt.Errorf("compare models: %d and %d embeddings of %d faces", len(a), len(b), n)
	}
	if err := r.faces(a, b, key); err != nil {
		return r, err
	}
	r.pairs(p, a, b)
	return r, nil
}

// usable says whether an embedding has a direction.
func usable(v []float32) bool { return len(v) > 0 && vec.HasDirection(vec.Norm(v)) }

// faces compares the embeddings of each face.
func (r *Result) faces(a, b protocol.Rows, key func(face int) (string, error)) (err error) {
	var cosines []float64
	one, other := 0, 0 // dimensions
	lowest := 0        // the face
	for i := range a {
		if !usable(a[i]) || !usable(b[i]) {
			r.Unusable++
			continue
		}
		r.Faces++
		if one, other = len(a[i]), len(b[i]); one != other {
			continue
		}
		cosine := vec.Cosine(a[i], b[i])
		if r.Cosine == nil || cosine < r.Cosine.Min {
			r.Cosine, lowest = &Cosine{Min: cosine}, i
		}
		cosines = append(cosines, cosine)
	}
	if r.Unusable > 0 {
		r.Notes = append(r.Notes, fmt.Sprintf("%d faces have no embedding of use by one of the models, and their comparisons are left out", r.Unusable))
	}
	if r.Cosine == nil {
		if one != other {
			r.Notes = append(r.Notes, fmt.Sprintf("the embeddings have %d and %d dimensions: faces cannot be compared, pairs can", one, other))
		}
		return nil
	}
	slices.Sort(cosines)
	r.Cosine.Mean, r.Cosine.Percentile1 = vec.Mean(cosines), cosines[(len(cosines)-1)/100]
	r.Cosine.MinKey, err = key(lowest)
	return err
}

// pairs compares the cosines of pairs.
func (r *Result) pairs(p protocol.Verification, a, b protocol.Rows) {
	all := 0
	for range p.Comparisons() {
		all++
	}
	step := (all + maxPairs - 1) / maxPairs
	if step > 1 {
		r.Notes = append(r.Notes, fmt.Sprintf("of %d pairs every %d-th was compared", all, step))
	}
	x, y := p.Pool(a), p.Pool(b)
	var compared []protocol.Comparison
	var cosines [2][]float64
	n := 0
	for c := range p.Comparisons() {
		n++
		if (n-1)%step != 0 || !usable(x.Vectors[c.First]) || !usable(x.Vectors[c.Second]) || !usable(y.Vectors[c.First]) || !usable(y.Vectors[c.Second]) {
			continue
		}
		compared = append(compared, c)
		cosines[0] = append(cosines[0], vec.Cosine(x.Vectors[c.First], x.Vectors[c.Second]))
		cosines[1] = append(cosines[1], vec.Cosine(y.Vectors[c.First], y.Vectors[c.Second]))
		if c.Same {
			r.Same++
		}
	}
	r.Pairs, r.Different = len(compared), len(compared)-r.Same
	r.Agreement = vec.Agree(cosines[0], cosines[1], func(i int) bool { return compared[i].Same }, func(i int) bool { return !compared[i].Same })
	r.differ(compared, cosines, x.Names)
}

// differ lists the pairs on which the models differ most.
func (r *Result) differ(compared []protocol.Comparison, cosines [2][]float64, names []string) {
	differences := residuals(cosines[0], cosines[1])
	order := make([]int, len(compared))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, k int) int {
		return cmp.Or(cmp.Compare(math.Abs(differences[k]), math.Abs(differences[i])), cmp.Compare(i, k))
	})
	for _, i := range order[:min(listed, len(order))] {
		c := compared[i]
		r.Differ = append(r.Differ, Pair{names[c.First], names[c.Second], c.Same, cosines[0][i], cosines[1][i], differences[i]})
	}
}

// residuals are how far y is from the straight line of least squares over x.
func residuals(x, y []float64) []float64 {
	mx, xx := vec.Moments(x)
	my := vec.Mean(y)
	slope := 0.0
	for i := range x {
		slope += float64((x[i]-mx)*(y[i]-my)) / float64(len(x)) // not fused, as in package vec
	}
	if xx > 0 {
		slope /= xx
	} else {
		slope = 0
	}
	out := make([]float64, len(x))
	for i := range x {
		out[i] = y[i] - my - float64(slope*(x[i]-mx))
	}
	return out
}
