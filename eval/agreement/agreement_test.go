package agreement_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"facepipe/eval/agreement"
	"facepipe/eval/protocol"
	"facepipe/internal/vec"
)

// listed is a protocol of comparisons of faces and nothing else.
type listed struct {
	protocol.Verification
	faces []int
	pairs []protocol.Comparison
}

func (l listed) Faces() []int                               { return l.faces }
func (l listed) Comparisons() iter.Seq[protocol.Comparison] { return slices.Values(l.pairs) }
func (l listed) Pool(embeddings [][]float32) protocol.Templates {
	t := protocol.Templates{Vectors: embeddings}
	for i := range embeddings {
		t.Names = append(t.Names, fmt.Sprintf("face %d", i))
	}
	return t
}

// world are people with several faces each, and pairs of them.
func world(rng *rand.Rand, n, pairs int) listed {
	l := listed{faces: make([]int, n)}
	for range pairs {
		a, b := rng.IntN(n), rng.IntN(n)
		if rng.IntN(2) == 0 {
			b = a ^ 1
		}
		l.pairs = append(l.pairs, protocol.Comparison{First: int32(a), Second: int32(b), Same: a/2 == b/2})
	}
	return l
}

// embed has a direction for each person, and noise.
func embed(rng *rand.Rand, n, dim int) protocol.Rows {
	rows := make(protocol.Rows, n)
	person := make([]float32, dim)
	for i := range rows {
		rows[i] = make([]float32, dim)
		for k := range dim {
			if i%2 == 0 {
				person[k] = float32(rng.NormFloat64())
			}
			rows[i][k] = person[k] + float32(rng.NormFloat64())/2
		}
	}
	return rows
}

func key(face int) (string, error) { return fmt.Sprint("key ", face), nil }

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

// A model agrees with itself, whatever the lengths of its embeddings.
func TestOfItself(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	l, a := world(rng, 40, 300), embed(rng, 40, 16)
	b := make(protocol.Rows, len(a))
	for i := range a {
		for _, x := range a[i] {
			b[i] = append(b[i], float32(2+i)*x)
		}
	}
	r, err := agreement.Of(l, a, b, key)
	if err != nil || r.Faces != 40 || r.Pairs != 300 || r.Same+r.Different != 300 || math.Abs(r.Cosine.Min-1) > 1e-6 || math.Abs(r.Cosine.Mean-1) > 1e-6 ||
		*r.Spearman < 0.99999 || len(r.Differ) != 20 || math.Abs(r.Differ[0].Difference) > 1e-5 {
		t.Errorf("%+v, %+v, %v", r, r.Cosine, err)
	}
}

// The figures are those of plain loops, and the face and pair that a model has spoilt come first.
func TestOf(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	l, a := world(rng, 250, 2000), embed(rng, 250, 16)
	b := make(protocol.Rows, len(a))
	for i := range a {
		for _, x := range a[i] {
			b[i] = append(b[i], x+float32(rng.NormFloat64())/10)
		}
	}
	for k := range b[7] {
		b[7][k] = -a[7][k] // the model sees the opposite
	}
	r, err := agreement.Of(l, a, b, key)
	if err != nil {
		t.Fatal(err)
	}
	var cosines, x, y []float64
	for i := range a {
		cosines = append(cosines, vec.Cosine(a[i], b[i]))
	}
	same := 0
	for _, c := range l.pairs {
		x, y = append(x, vec.Cosine(a[c.First], a[c.Second])), append(y, vec.Cosine(b[c.First], b[c.Second]))
		if c.Same {
			same++
		}
	}
	slices.Sort(cosines)
	if !near(r.Cosine.Mean, vec.Mean(cosines)) || r.Cosine.Percentile1 != cosines[2] || !near(r.Cosine.Min, -1) || r.Cosine.MinKey != "key 7" {
		t.Errorf("%+v", r.Cosine)
	}
	if *r.Spearman != vec.Spearman(x, y) || r.Same != same || r.SpearmanSame == nil || *r.SpearmanDifferent > *r.Spearman {
		t.Errorf("%+v", r)
	}
	first := r.Differ[0]
	if first.First != "face 7" && first.Second != "face 7" || !near(first.CosineA, vec.Cosine(a[index(first.First)], a[index(first.Second)])) || (first.CosineA > 0) != (first.Difference < 0) {
		t.Errorf("the pair that differs most is %+v", first)
	}
	for i := 1; i < len(r.Differ); i++ {
		if math.Abs(r.Differ[i].Difference) > math.Abs(r.Differ[i-1].Difference) {
			t.Error("pairs are not in order")
		}
	}
}

func index(name string) (i int) {
	_, _ = fmt.Sscanf(name, "face %d", &i)
	return i
}

// Two dimensions leave the pairs; unusable faces leave their comparisons out.
func TestOfOtherSpaces(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 3))
	l, a, b := world(rng, 40, 300), embed(rng, 40, 16), embed(rng, 40, 8)
	clear(a[3])
	b[5] = nil
	r, err := agreement.Of(l, a, b, key)
	if err != nil || r.Cosine != nil || r.Unusable != 2 || r.Faces != 38 || len(r.Notes) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	want := 0
	for _, c := range l.pairs {
		if !slices.Contains([]int32{3, 5}, c.First) && !slices.Contains([]int32{3, 5}, c.Second) {
			want++
		}
	}
	if r.Pairs != want || *r.SpearmanSame > 0.5 {
		t.Errorf("%d pairs, want %d; %v", r.Pairs, want, *r.SpearmanSame)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestOfDegenerate(t *testing.T) {
	none := listed{faces: make([]int, 2)}
	zero := protocol.Rows{make([]float32, 4), nil}
	r, err := agreement.Of(none, zero, zero, key)
	if err != nil || r.Spearman != nil || r.Cosine != nil || r.Unusable != 2 || len(r.Differ) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	one := protocol.Rows{{1, 0}, {1, 0}}
	alike := listed{faces: make([]int, 2), pairs: []protocol.Comparison{{First: 0, Second: 1, Same: true}, {First: 1, Second: 0, Same: true}}}
	if r, err := agreement.Of(alike, one, one, key); err != nil || r.Spearman != nil || r.Differ[0].Difference != 0 || r.Cosine.Min != 1 {
		t.Errorf("pairs that are all alike: %+v, %v", r, err)
	}
	if _, err := agreement.Of(alike, one, one[:1], key); err == nil {
		t.Error("embeddings of fewer faces are taken")
	}
	lost := errors.New("lost")
	if _, err := agreement.Of(alike, one, one, func(int) (string, error) { return "", lost }); !errors.Is(err, lost) {
		t.Errorf("%v", err)
	}
}

// Of many pairs some are compared, and the result says so.
func TestOfMany(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	l, a := world(rng, 10, 1<<20+5), embed(rng, 10, 4)
	r, err := agreement.Of(l, a, a, key)
	if err != nil || r.Pairs != 1<<19+3 || len(r.Notes) != 1 {
		t.Errorf("%d pairs, notes %q, %v", r.Pairs, r.Notes, err)
	}
}
