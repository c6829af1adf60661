package detect

import (
	"testing"
)

func TestMainChoosesLargestCentralFace(t *testing.T) {
	box := func(x1, y1, x2, y2, score float64) Face { return Face{X1: x1, Y1: y1, X2: x2, Y2: y2, Score: score} }
	central := box(80, 80, 120, 120, 0.6)
	tests := []struct {
		name  string
		faces []Face
		want  int
	}{
		{"only one", []Face{box(0, 0, 10, 10, 0.9)}, 0},
		{"larger beats smaller at the same distance", []Face{box(95, 95, 105, 105, 0.9), central}, 1},
		{"central beats a slightly larger one at the edge", []Face{box(0, 0, 45, 45, 0.9), central}, 1},
		{"a much larger one wins off centre", []Face{central, box(0, 0, 150, 150, 0.5)}, 1},
		{"the first of equals", []Face{central, central}, 0},
	}
	for _, tt := range tests {
		if got := Main(tt.faces, 200, 200); got != tt.faces[tt.want] {
			t.Errorf("%s: chose %+v", tt.name, got)
		}
	}
}

func TestOverlaps(t *testing.T) {
	a := Face{X1: 0, Y1: 0, X2: 9, Y2: 9}
	tests := []struct {
		name               string
		b                  Face
		inclusive, integer float64
	}{
		{"itself", a, 1, 1},
		{"apart", Face{X1: 20, Y1: 20, X2: 29, Y2: 29}, 0, 0},
		{"sharing an edge", Face{X1: 9, Y1: 0, X2: 18, Y2: 9}, 10.0 / 190, 0},
		{"half", Face{X1: 5, Y1: 0, X2: 14, Y2: 9}, 50.0 / 150, 36.0 / 126},
		{"half, with fractions", Face{X1: 5.9, Y1: 0.9, X2: 14.95, Y2: 9.95}, 41 * 0.1 * 9.1 * 1.0 / (100 + 10.05*10.05 - 41*0.1*9.1), 36.0 / 126},
		{"empty", Face{X1: 3, Y1: 3, X2: 3, Y2: 3}, 1.0 / 100, 0},
	}
	for _, tt := range tests {
		if got := inclusiveOverlap(a, tt.b); !(got > tt.inclusive-1e-9 && got < tt.inclusive+1e-9) {
			t.Errorf("%s: inclusive overlap %v, want %v", tt.name, got, tt.inclusive)
		}
		if got := integerOverlap(a, tt.b); !(got > tt.integer-1e-9 && got < tt.integer+1e-9) {
			t.Errorf("%s: integer overlap %v, want %v", tt.name, got, tt.integer)
		}
	}
}

func TestBestKeepsTheOrderOfEquals(t *testing.T) {
	faces := []Face{{X1: 1, Score: 0.5}, {X1: 2, Score: 0.9}, {X1: 3, Score: 0.5}, {X1: 4, Score: 0.9}}
	got := best(faces, 3)
	if len(got) != 3 || got[0].X1 != 2 || got[1].X1 != 4 || got[2].X1 != 1 {
		t.Errorf("got %+v", got)
	}
}
