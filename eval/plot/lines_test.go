package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// wellFormed wants a picture that any reader of XML takes, with all coordinates in it.
func wellFormed(t *testing.T, svg []byte, width, height float64) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
	}
	if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
		t.Errorf("a coordinate is no number: %s", svg)
	}
	for _, at := range regexp.MustCompile(`[ML](-?[\d.]+) (-?[\d.]+)`).FindAllStringSubmatch(string(svg), -1) {
		x, _ := strconv.ParseFloat(at[1], 64)
		y, _ := strconv.ParseFloat(at[2], 64)
		if x < 0 || x > width || y < 0 || y > height {
			t.Errorf("%s is outside", at[0])
		}
	}
}

func TestLines(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	flat := func(values ...float64) (points []Sample) {
		for i, v := range values {
			points = append(points, Sample{X: float64(10 * i), Y: v, Low: v, High: v})
		}
		return points
	}
	for name, c := range map[string]struct {
		lines Lines
		paths int // lines that are drawn
	}{
		"nothing":       {Lines{Title: "none"}, 0},
		"one point":     {Lines{Series: []Series{{Points: flat(3)}}}, 0},
		"constant":      {Lines{Series: []Series{{Points: flat(2, 2, 2)}}}, 1},
		"zero":          {Lines{Series: []Series{{Points: flat(0, 0)}}}, 1},
		"broken":        {Lines{Series: []Series{{Points: flat(1, 2, nan, 3, inf, 4, 5)}}}, 2},
		"only NaN":      {Lines{Series: []Series{{Points: flat(nan, nan)}}}, 0},
		"log":           {Lines{Log: true, Series: []Series{{Points: flat(1e-6, 0, 1, 100, 1e4)}}}, 1},
		"huge and tiny": {Lines{Series: []Series{{Points: flat(1e300, -1e300)}, {Label: "b", Points: flat(1e-300, 2e-300)}}}, 2},
		"text":          {Lines{Title: `</title><script>"&`, X: "\x1b", Series: []Series{{Label: "<a>", Points: flat(1, 2)}, {Label: strings.Repeat("x", 500), Points: flat(2, 1)}}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			svg := c.lines.SVG()
			wellFormed(t, svg, smallWidth, smallHeight)
			if n := strings.Count(string(svg), `<path class="curve`); n != c.paths {
				t.Errorf("%d lines, want %d\n%s", n, c.paths, svg)
			}
		})
	}
	// A step that went astray does not flatten the rest: the band ends at the frame.
	astray := Lines{Series: []Series{{Points: []Sample{{0, 1, 1, 1}, {1, 2, 1, 1e9}, {2, 1.5, 1, 2}}}}}
	wellFormed(t, astray.SVG(), smallWidth, smallHeight)
	if _, y, _ := astray.scales(); y.high > 10 {
		t.Errorf("the axis ends at %g", y.high)
	}
	if words := astray.describe(); words != ": from 1 to 1.5" {
		t.Error(words)
	}
}

func TestScales(t *testing.T) {
	for _, c := range []struct {
		low, high float64
		want      string
	}{{0, 1, "0 0.2 0.4 0.6 0.8 1"}, {0.36, 1.21, "0.2 0.4 0.6 0.8 1 1.2 1.4"}, {-3, 17, "-5 0 5 10 15 20"}, {0, 33300, "0 10k 20k 30k 40k"}, {0, 2.5e6, "0 500k 1M 1.5M 2M 2.5M"}} {
		var labels []string
		for _, v := range linear(c.low, c.high, 5, true).ticks {
			labels = append(labels, tickLabel(v))
		}
		if got := strings.Join(labels, " "); got != c.want {
			t.Errorf("%g to %g: %s, want %s", c.low, c.high, got, c.want)
		}
	}
	for _, low := range []float64{0.15, 1, -7e-300, 1e300} { // neighbours among numbers of 64 bits
		if n := len(linear(low, math.Nextafter(low, math.Inf(1)), 5, true).ticks); n < 2 || n > 20 {
			t.Errorf("%g and the next number: %d ticks", low, n)
		}
	}
	if s := decades(0.003, 70); s.low != 0.001 || s.high != 100 || len(s.ticks) != 6 {
		t.Errorf("%+v", s)
	}
}

func TestBars(t *testing.T) {
	values := []float64{1, 1, 2, 5, math.NaN(), math.Inf(1)}
	bars := Ranges(values, 4)
	if len(bars) != 4 || bars[0] != (Bar{From: 1, To: 2, Count: 2}) || bars[1].Count != 1 || bars[2].Count != 0 || bars[3] != (Bar{From: 4, To: 5, Count: 1}) {
		t.Errorf("%+v", bars)
	}
	if Ranges([]float64{math.NaN()}, 4) != nil || Ranges(nil, 3) != nil {
		t.Error("there are ranges of nothing")
	}
	if one := Ranges([]float64{7, 7}, 2); one[0].From != 6.5 || one[0].Count+one[1].Count != 2 {
		t.Errorf("%+v", one)
	}
	for name, c := range map[string]Bars{
		"nothing": {Title: "none"}, "ranges": {Title: "<b>", X: "&", Bars: bars, Mark: 2, MarkLabel: "median 2"}, "outside": {Bars: bars, Mark: 99, MarkLabel: "far"},
		"named": {Bars: []Bar{{Name: "1", Count: 0}, {Name: "2–3", Count: 1e9}, {Name: strings.Repeat("<", 99), Count: 1}}}, "empty": {Bars: []Bar{{From: 0, To: 1}}},
	} {
		svg := c.SVG()
		wellFormed(t, svg, smallWidth, smallHeight)
		drawn := 0
		for _, bar := range c.Bars {
			if bar.Count > 0 {
				drawn++
			}
		}
		if n := strings.Count(string(svg), `class="bar `); n != drawn {
			t.Errorf("%s: %d bars, want %d", name, n, drawn)
		}
	}
	if words := (Bars{Bars: bars, MarkLabel: "median 2"}).describe(); words != "4 in all; most in 1 to 2: 2; median 2" {
		t.Error(words)
	}
}
