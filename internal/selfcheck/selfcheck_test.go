package selfcheck

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/embed"
	"facepipe/internal/onnx"
	"facepipe/internal/synthface"
	"facepipe/internal/vec"
	"facepipe/testdata"
)

// draw are n numbers of a normal distribution.
func draw(rng *rand.Rand, mean float64, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = mean + rng.NormFloat64()
	}
	return x
}

// Two normal distributions whose means are two deviations apart have d′ = 2, and
// contracts that differ by less than chance explains are equal.
func TestSeparation(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	same, different := draw(rng, 2, 20000), draw(rng, 0, 20000)
	if d := separation(same, different); math.Abs(d-2) > 0.05 {
		t.Errorf("separation is %g", d)
	}
	if d := separation([]float64{1, 1}, []float64{1, 1}); d != 0 {
		t.Errorf("separation without spread is %g", d)
	}
	base := Score{scores: same[:40]}
	shifted := func(by, noise float64) Score {
		c := Score{}
		for _, s := range base.scores {
			c.scores = append(c.scores, s+by+noise*rng.NormFloat64())
		}
		return c
	}
	for name, c := range map[string]struct {
		other Score
		want  bool
	}{
		"itself":         {base, false},
		"rounding":       {shifted(0.001, 0), false},
		"noise":          {shifted(0, 1), false},
		"better":         {shifted(0.5, 0.3), true},
		"worse":          {shifted(-0.5, 0.3), false},
		"without scores": {Score{}, false},
	} {
		if got := c.other.better(base); got != c.want {
			t.Errorf("%s is better: %v", name, got)
		}
	}
	if !base.better(Score{}) {
		t.Error("a contract with scores is no better than one without")
	}
}

// people are n with two units each, that lie apart by noise in so many dimensions.
func people(rng *rand.Rand, n, dim int, noise float64) [][]float32 {
	var units [][]float32
	for range n {
		centre := draw(rng, 0, dim)
		for range 2 {
			v, norm := make([]float64, dim), 0.0
			for d := range v {
				v[d] = centre[d] + noise*rng.NormFloat64()
				norm += v[d] * v[d]
			}
			u := make([]float32, dim)
			for d := range v {
				u[d] = float32(v[d] / math.Sqrt(norm))
			}
			units = append(units, u)
		}
	}
	return units
}

// The interval of the AUC holds the true value about 95 times of 100.
func TestIntervalCovers(t *testing.T) {
	const noise, dim, trials = 1.5, 16, 300
	truth := 0.0
	for seed := range uint64(40) {
		same, different := pairs(people(rand.New(rand.NewPCG(seed, 1)), 200, dim, noise), false)
		truth += vec.AUC(without(same, -1), without(different, -1)) / 40
	}
	covered := 0
	for seed := range uint64(trials) {
		same, different := pairs(people(rand.New(rand.NewPCG(seed, 2)), 40, dim, noise), false)
		value, low, high := auc(same, different)
		if low > value || high < value {
			t.Fatalf("%g is not within %g and %g", value, low, high)
		}
		if low <= truth && truth <= high {
			covered++
		}
	}
	if share := float64(covered) / trials; share < 0.9 || share > 0.99 {
		t.Errorf("%g of the intervals hold %g", share, truth)
	}
}

// result is one that was measured on many faces.
func result(mirrored bool, contracts ...Score) *Result {
	r := &Result{Crops: 96, Same: 48, Different: 4512, Mirrored: mirrored, Contracts: contracts}
	for i, c := range contracts {
		if c.better(r.Contracts[r.Best]) {
			r.Best = i
		}
	}
	return r
}

// scored is a contract whose scores are all so high.
func scored(p embed.Preprocess, auc, low, d float64) Score {
	return Score{Name: p.ChannelOrder + " it", Preprocess: p, AUC: auc, AUCLow: low, AUCHigh: 1, Separation: d, scores: slices.Repeat([]float64{d}, 48)}
}

// What is measured is taken where nothing else tells, and is an error where the file says
// otherwise; what the user says counts.
func TestSettle(t *testing.T) {
	rgb, bgr := embed.ArcFace(), embed.ArcFace()
	bgr.ChannelOrder = "BGR"
	raw := scored(embed.Raw(), 0.99, 0.98, 8)
	poor, weak := scored(rgb, 0.6, 0.5, 0.4), scored(embed.Raw(), 0.7, 0.6, 1)
	stated, found := arcfaceMetadata(t), beginsWithHalf
	for name, c := range map[string]struct {
		result     *Result
		edit       func(*onnx.Model)
		preprocess string
		want       embed.Preprocess
		warns      string
		err        error
	}{
		"confirmed":               {result(false, scored(rgb, 0.99, 0.98, 8), weak), nil, "", rgb, "", nil},
		"nothing tells":           {result(false, poor, raw), nil, "", embed.Raw(), "", nil},
		"of mirror images":        {result(true, poor, raw), nil, "", embed.Raw(), "", nil},
		"mirror images, barely":   {result(true, poor, scored(embed.Raw(), 0.99, 0.98, 4)), nil, "", rgb, "consider", nil},
		"not clearly":             {result(false, poor, weak), nil, "", rgb, "not clearly", nil},
		"chosen":                  {result(false, poor, raw), nil, "arcface", rgb, "is --preprocess right", nil},
		"stated":                  {result(false, poor, raw), stated, "", rgb, "", ErrContradiction},
		"stated, hardly worse":    {result(false, scored(rgb, 0.985, 0.97, 7), raw), stated, "", rgb, "consider", nil},
		"order, nothing tells":    {result(false, scored(rgb, 0.98, 0.97, 6), scored(bgr, 0.99, 0.98, 8)), nil, "", bgr, "", nil},
		"order, scaling is found": {result(false, scored(rgb, 0.9, 0.85, 6), scored(bgr, 0.99, 0.98, 8)), found, "", bgr, "", nil},
		"scaling, it is found":    {result(false, poor, raw), found, "", embed.Unit(), "", ErrContradiction},
		"no test":                 {nil, nil, "", rgb, "", nil},
	} {
		m := open(t, c.edit, c.preprocess)
		warning, err := c.result.Settle(m)
		if m.Preprocess() != c.want || !errors.Is(err, c.err) || (warning == "") != (c.warns == "") || !strings.Contains(warning, c.warns) {
			t.Errorf("%s: %v, %q, %v", name, m.Preprocess(), warning, err)
		}
		if m.Preprocess() != embed.ArcFace() && c.edit == nil && !strings.Contains(m.Reason(), "measured") {
			t.Errorf("%s: reason %q", name, m.Reason())
		}
	}
}

// A model that tells nobody apart is named with its figures.
func TestWeak(t *testing.T) {
	chance := scored(embed.ArcFace(), 0.52, 0.44, 0.1)
	few := result(false, chance)
	few.Same = MinPeople - 1
	for name, c := range map[string]struct {
		result *Result
		says   string
	}{
		"chance":     {result(false, chance), "0.520 at best (95 % interval 0.440 to 1.000"},
		"constant":   {result(false, Score{}), "alike"},
		"above":      {result(false, scored(embed.ArcFace(), 0.6, 0.51, 0.3)), ""},
		"other best": {result(false, chance, scored(embed.Raw(), 0.9, 0.85, 2)), ""},
		"few faces":  {few, ""},
		"no test":    {nil, ""},
	} {
		err := c.result.Weak()
		if errors.Is(err, ErrWeak) != (c.says != "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// faces are two pictures each of generated people.
func faces(n int, mirrored bool) Faces {
	g := synthface.New(5)
	count := 2 * n
	if mirrored {
		count = n
	}
	return Faces{Count: count, Mirrored: mirrored, Load: func(i int, rgb []byte) error {
		picture := i % 2
		if mirrored {
			picture = 0
		} else {
			i /= 2
		}
		img, _ := g.Aligned(i, picture, synthface.DefaultHard)
		copy(rgb, img.Pix)
		return nil
	}}
}

// The teacher of the repository was trained on RGB of generated faces.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "teacher.onnx")
	if err := os.WriteFile(path, testdata.Teacher, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		preprocess string
		mirrored   bool
		warns      bool
		says, all  string
	}{
		{"auto", false, false, "self-test: comparing 5 preprocessings on 20 pairs of faces", "200/200"},
		{"raw", false, true, "self-test: comparing 5 preprocessings on 20 pairs of faces", "200/200"},
		{"auto", true, false, "self-test: comparing 4 preprocessings on 20 faces and their mirror images", "80/80"},
	} {
		model, err := embed.Open(t.Context(), path, embed.Options{Preprocess: c.preprocess})
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		r, err := Run(t.Context(), model, faces(20, c.mirrored), &out)
		if err != nil {
			t.Fatal(err)
		}
		warning, err := r.Settle(model)
		if err != nil || (warning != "") != c.warns || r.Mirrored != c.mirrored || r.Same != 20 || r.Different == 0 || r.Weak() != nil {
			t.Errorf("%s: %+v, %q, %v", c.preprocess, r, warning, err)
		}
		if said := out.String(); !strings.HasPrefix(said, c.says+"\n") || !strings.Contains(said, "\nself-test: "+c.all) {
			t.Errorf("%s: it says %q", c.preprocess, said)
		}
		model.Close()
	}
	if r, err := Run(t.Context(), nil, Faces{Count: 1}, nil); r != nil || err != nil {
		t.Errorf("of one face: %v, %v", r, err)
	}
}

// open opens an embedder that averages channels, with something before it.
func open(t *testing.T, edit func(*onnx.Model), preprocess string) *embed.Model {
	t.Helper()
	m := &onnx.Model{IRVersion: 7, OpsetVersion: 13, Graph: onnx.Graph{
		Nodes: []onnx.Node{
			{OpType: "GlobalAveragePool", Inputs: []string{"input"}, Outputs: []string{"pooled"}},
			{OpType: "Flatten", Inputs: []string{"pooled"}, Outputs: []string{"embedding"}},
		},
		Inputs:  []onnx.ValueInfo{{Name: "input", Type: onnx.Float32, Dims: append([]onnx.Dim{onnx.Variable("N")}, onnx.Fixed(3, 112, 112)...)}},
		Outputs: []onnx.ValueInfo{{Name: "embedding", Type: onnx.Float32, Dims: []onnx.Dim{onnx.Variable("N"), {Size: 3}}}},
	}}
	if edit != nil {
		edit(m)
	}
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, m.Marshal(), 0o644); err != nil {
		t.Fatal(err)
	}
	model, err := embed.Open(t.Context(), path, embed.Options{Preprocess: preprocess})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(model.Close)
	return model
}

// arcfaceMetadata states the contract.
func arcfaceMetadata(t *testing.T) func(*onnx.Model) {
	t.Helper()
	text, err := json.Marshal(embed.ArcFace())
	if err != nil {
		t.Fatal(err)
	}
	return func(m *onnx.Model) { m.Metadata = []onnx.Property{{Key: embed.PreprocessKey, Value: string(text)}} }
}

// beginsWithHalf makes the graph one for 0 to 1.
func beginsWithHalf(m *onnx.Model) {
	m.Graph.Initializers = append(m.Graph.Initializers, onnx.FloatTensor("half", []float32{0.5}, 1))
	m.Graph.Nodes[0].Inputs[0] = "shifted"
	m.Graph.Nodes = append([]onnx.Node{{OpType: "Sub", Inputs: []string{"input", "half"}, Outputs: []string{"shifted"}}}, m.Graph.Nodes...)
}

// Contracts that the input cannot hold are not tried.
func TestContractsOfIntegers(t *testing.T) {
	for input, want := range map[onnx.ElemType]string{
		onnx.Float32: "RGB /127.5, RGB raw, RGB /255, RGB -127.5, BGR",
		onnx.Uint8:   "RGB raw, BGR raw",
		onnx.Int8:    "RGB chosen, BGR chosen",
	} {
		m := open(t, func(m *onnx.Model) {
			g := &m.Graph
			g.Inputs[0].Type, g.Nodes[0].Inputs[0] = input, "image"
			g.Nodes = append([]onnx.Node{{OpType: "Cast", Inputs: []string{"input"}, Outputs: []string{"image"}, Attributes: []onnx.Attribute{onnx.Int("to", int64(onnx.Float32))}}}, g.Nodes...)
		}, "")
		var out bytes.Buffer
		r, err := Run(t.Context(), m, faces(12, false), &out)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range r.Contracts {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, ", "); !strings.HasPrefix(got, want) || !strings.Contains(out.String(), fmt.Sprintf("comparing %d preprocessings", len(names))) {
			t.Errorf("%v: tried %s, want %s; said %q", input, got, want, out.String())
		}
	}
}
