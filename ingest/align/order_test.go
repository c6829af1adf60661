package align

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// written writes faces, each turned, enlarged and blurred a little, in an order.
func written(n int, write func(Landmarks) []float64) [][]float64 {
	rng := rand.New(rand.NewPCG(7, 8))
	var rows [][]float64
	for range n {
		m := Similarity{A: 2 + rng.Float64(), B: rng.Float64() - 0.5, Tx: 30, Ty: 50}
		face := Template(CropSize)
		for i, p := range face {
			face[i] = m.Apply(Point{p.X + 2*rng.NormFloat64(), p.Y + 2*rng.NormFloat64()})
		}
		rows = append(rows, write(face))
	}
	return rows
}

func pairs(l Landmarks) []float64 { return l.Numbers() }

func apart(l Landmarks) []float64 {
	var x, y []float64
	for _, p := range l {
		x, y = append(x, p.X), append(y, p.Y)
	}
	return append(x, y...)
}

func swapped(at ...int) func(Landmarks) Landmarks {
	return func(l Landmarks) (out Landmarks) {
		for i := range l {
			out[i] = l[at[i]]
		}
		return out
	}
}

func TestRecognise(t *testing.T) {
	person, eyes, mouth := swapped(1, 0, 2, 4, 3), swapped(1, 0, 2, 3, 4), swapped(0, 1, 2, 4, 3)
	tests := []struct {
		name  string
		write func(Landmarks) []float64
		want  string // of the order, or of the error
		fails bool
	}{
		{"usual", pairs, "", false},
		{"usual with a score", func(l Landmarks) []float64 { return append(pairs(l), 0.9) }, "", false},
		{"apart", apart, "x1 ... x5 y1 ... y5", false},
		{"exchanged", func(l Landmarks) (v []float64) {
			for _, p := range l {
				v = append(v, p.Y, p.X)
			}
			return v
		}, "y1 x1 ... y5 x5", false},
		{"person", func(l Landmarks) []float64 { return pairs(person(l)) }, "x1 y1 ... x5 y5 from the person's left", false},
		{"person, apart", func(l Landmarks) []float64 { return apart(person(l)) }, "x1 ... x5 y1 ... y5 from the person's left", false},
		{"label", func(l Landmarks) []float64 { return append([]float64{17}, pairs(l)...) }, "a label before x1 y1 ... x5 y5", false},
		{"label, apart", func(l Landmarks) []float64 { return append([]float64{0}, apart(l)...) }, "a label before x1 ... x5 y1 ... y5", false},
		{"eyes", func(l Landmarks) []float64 { return pairs(eyes(l)) }, "left and right eye swapped", true},
		{"mouth", func(l Landmarks) []float64 { return pairs(mouth(l)) }, "left and right mouth corner swapped", true},
		{"no face", func(l Landmarks) []float64 { return []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10} }, "in no known order", true},
	}
	for _, tt := range tests {
		for _, n := range []int{4, 100} {
			o, err := Recognise(written(n, tt.write))
			if tt.fails {
				if !errors.Is(err, ErrDegenerate) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("%s: error %v, want %q", tt.name, err, tt.want)
				}
				continue
			}
			if err != nil || o.String() != tt.want {
				t.Errorf("%s: order %q, %v; want %q", tt.name, o, err, tt.want)
			}
			for i, row := range written(n, tt.write) {
				if got, want := o.Face(row), written(n, pairs)[i]; math.Abs(pairs(got)[7]-want[7]) > 0 {
					t.Fatalf("%s: face %v, want %v", tt.name, got, want)
				}
			}
		}
	}
	mixed := append(written(10, apart), written(6, pairs)...)
	if o, err := Recognise(mixed); !errors.Is(err, ErrDegenerate) {
		t.Errorf("two orders in one file: %v, %v", o, err)
	}
}

func TestCheckOrder(t *testing.T) {
	face := Template(CropSize)
	if err := CheckOrder(face); err != nil {
		t.Error(err)
	}
	lying := Similarity{B: 1}
	for i, p := range face {
		face[i] = lying.Apply(p)
	}
	if err := CheckOrder(face); err != nil {
		t.Errorf("a face on its side: %v", err)
	}
	// A profile as a detector finds it: eyes and nose nearly coincide.
	profile := Landmarks{{80, 60}, {92, 60}, {104, 80}, {82, 101}, {90, 101}}
	if _, err := Estimate(profile, Template(CropSize)); err != nil {
		t.Errorf("a profile: %v", err)
	}
	if err := CheckOrder(profile); err != nil {
		t.Errorf("a profile: %v", err)
	}
	for name, at := range map[string][]int{"eyes": {1, 0, 2, 3, 4}, "mouth": {0, 1, 2, 4, 3}, "both": {1, 0, 2, 4, 3}} {
		if err := CheckOrder(swapped(at...)(Template(CropSize))); !errors.Is(err, ErrDegenerate) {
			t.Errorf("%s swapped: %v", name, err)
		}
	}
}
