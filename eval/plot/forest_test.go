package plot

import (
	"math"
	"strings"
	"testing"
)

func TestForest(t *testing.T) {
	nan := math.NaN()
	for name, c := range map[string]struct {
		chart              Forest
		intervals, circles int
	}{
		"nothing":  {Forest{Title: "none"}, 0, 0},
		"no value": {Forest{Rows: []Interval{{Label: "a", Mean: nan, Low: 0, High: 1}}}, 0, 0},
		"one seed": {Forest{Rows: []Interval{{Label: "a", Mean: 0.2, Low: nan, High: nan, Dots: []float64{0.2}}}}, 0, 2},
		"two":      {Forest{Rows: []Interval{{Label: "a", Mean: -1, Low: -2, High: 0.5, Dots: []float64{-2, 0, nan}}, {Label: strings.Repeat("<b>", 99), Mean: 3, Low: 1, High: 5}}}, 2, 4},
		"zero":     {Forest{Rows: []Interval{{Label: "same", Mean: 0, Low: 0, High: 0}}}, 1, 1},
		"infinite": {Forest{Title: `</title>"`, X: "\x1b", Rows: []Interval{{Mean: 1, Low: math.Inf(-1), High: math.Inf(1), Dots: []float64{math.Inf(1)}}}}, 0, 1},
	} {
		svg := c.chart.SVG()
		wellFormed(t, svg, smallWidth, 1000)
		if n, m := strings.Count(string(svg), `<path class="curve`), strings.Count(string(svg), "<circle"); n != c.intervals || m != c.circles {
			t.Errorf("%s: %d intervals and %d circles, want %d and %d", name, n, m, c.intervals, c.circles)
		}
	}
	f := Forest{Rows: []Interval{{Label: "unified", Mean: 0.5, Low: 0.1, High: 0.9}, {Label: "rkd", Mean: -1, Low: nan, High: nan}}}
	if words := f.describe(); words != "unified: 0.5, 0.1 to 0.9; rkd: -1" {
		t.Error(words)
	}
	if low, high, _ := (Forest{Rows: []Interval{{Mean: 4, Low: 3, High: 5}}}).extent(); low != 0 || high != 5 {
		t.Errorf("no difference is outside %g to %g", low, high)
	}
}

func TestScatter(t *testing.T) {
	many := Scatter{Title: "many"}
	for range 30 {
		many.Groups = append(many.Groups, Points{Label: "g", At: [][2]float64{{1, 2}}})
	}
	for name, c := range map[string]struct {
		chart   Scatter
		circles int
	}{
		"nothing": {Scatter{Title: "none"}, 0},
		"broken":  {Scatter{Groups: []Points{{At: [][2]float64{{math.NaN(), 1}, {1, math.Inf(1)}}}}}, 0},
		"one":     {Scatter{Groups: []Points{{Label: "<a>", At: [][2]float64{{1, 2}}}}}, 1},
		"two":     {Scatter{X: "hours", Y: "&", Groups: []Points{{Label: "a", At: [][2]float64{{1, 2}, {2, 3}}}, {Label: "b", At: [][2]float64{{5, 1}}}}}, 3},
		"many":    {many, 30},
	} {
		svg := c.chart.SVG()
		wellFormed(t, svg, smallWidth, smallHeight)
		if n := strings.Count(string(svg), "<circle"); n != c.circles {
			t.Errorf("%s: %d points, want %d", name, n, c.circles)
		}
	}
	s := Scatter{X: "ms", Y: "accuracy", Groups: []Points{{Label: "a", At: [][2]float64{{1, 2}, {3, 4}}}}}
	if words := s.describe(); words != "a: ms 2, accuracy 3" {
		t.Error(words)
	}
}
