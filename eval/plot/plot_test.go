package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files anew")

// power is a curve TAR = FAR^exponent in n steps: the smaller the exponent, the better.
func power(label string, exponent float64, n int) Curve {
	c := Curve{Label: label, Note: fmt.Sprintf("exponent %g", exponent), Points: []Point{{}}}
	for k := 1; k <= n; k++ {
		far := float64(k) / float64(n)
		c.Points = append(c.Points, Point{far, math.Pow(far, exponent)})
	}
	return c
}

// picture is any chart.
type picture interface{ SVG() []byte }

func TestGolden(t *testing.T) {
	for name, c := range map[string]picture{
		"strong": Chart{Title: "Strong models", Subtitle: "3000 and 3000 pairs", Different: 3000,
			Curves: []Curve{power("teacher.onnx", 0.0005, 3000), power("student.onnx", 0.004, 3000)}},
		"weak": Chart{Title: "Weak models & <others>", Subtitle: "200 and 200 pairs", Different: 200,
			Curves: []Curve{power("untrained.onnx", 0.9, 200), power("run/student.onnx", 0.2, 200)}},
		"det": DETChart{Title: "Errors of strong & weak models", Subtitle: "3000 pairs of the same person, 6000 of different people", Same: 3000, Different: 6000,
			Curves: []DETCurve{tradeOff("teacher.onnx", 2e-5, 3000, 6000), tradeOff("student.onnx", 1e-3, 3000, 6000), tradeOff("perfect.onnx", 0, 3000, 6000)}},
		"scores": HistogramChart{Title: "Scores of <two> models", Subtitle: "3000 and 3000 pairs",
			Panels: []Histogram{bells("teacher.onnx", 0.6, 0.1), bells("student.onnx", 0.4, 0.18)}},
	} {
		path := "testdata/" + name + ".svg"
		got := c.SVG()
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs; look at it and run with -update if it should", path)
		}
	}
}

// texts are the contents of the document's text elements; it fails unless the document
// is well-formed.
func texts(t testing.TB, svg []byte) []string {
	t.Helper()
	d := xml.NewDecoder(bytes.NewReader(svg))
	var found []string
	inText := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
		switch e := token.(type) {
		case xml.StartElement:
			inText = e.Name.Local == "text"
		case xml.EndElement:
			inText = false
		case xml.CharData:
			if inText {
				found = append(found, string(e))
			}
		}
	}
}

func TestAxisShowsAllThatIsVisible(t *testing.T) {
	for _, c := range []struct{ exponent, from float64 }{{0.0005, 0.98}, {0.004, 0.95}, {0.01, 0.9}, {0.02, 0.8}, {0.06, 0.5}, {0.5, 0}, {1, 0}} {
		chart := Chart{Different: 20_000, Curves: []Curve{power("a", 0.0001, 20_000), power("b", c.exponent, 20_000)}}
		if got := chart.axes(); got.tar.from != c.from {
			t.Errorf("TAR from %v at FAR 1e-4: axis from %v, want %v", chart.Curves[1].at(frameLeft, got.far), got.tar.from, c.from)
		}
	}
}

// The closest pair of all may be one of different people: that is one bad pair, and
// must not flatten the curves.
func TestAxisIgnoresWhatCannotBeTold(t *testing.T) {
	c := Chart{Different: 1000, Curves: []Curve{power("a", 0.004, 1000)}}
	a := c.axes()
	if lowest := c.Curves[0].at(frameLeft, a.far); lowest != 0 || a.tar.from != 0.95 {
		t.Errorf("TAR %v at 1e-4, axis from %v, want 0.95", lowest, a.tar.from)
	}
}

// What is drawn is the step function, evaluated anywhere, to a tenth of a pixel.
func TestPathIsTheCurve(t *testing.T) {
	c := power("a", 0.3, 700)
	axes := Chart{Curves: []Curve{c}}.axes()
	steps := regexp.MustCompile(`[MHV][^MHV]+`).FindAllString(c.path(axes), -1)
	var x, y float64
	for _, s := range steps {
		switch s[0] {
		case 'M':
			if _, err := fmt.Sscan(s[1:], &x, &y); err != nil {
				t.Fatal(err)
			}
		case 'H':
			next := number(t, s[1:])
			if next < x {
				t.Fatalf("the path goes back to %v from %v", next, x)
			}
			middle := axes.far.rate((x + next) / 2)
			if next-x > 1 && math.Abs(y-axes.tar.yOf(tarAt(c, middle))) > 0.11 {
				t.Errorf("at FAR %v the path is at %v, the curve at %v", middle, y, axes.tar.yOf(tarAt(c, middle)))
			}
			x = next
		case 'V':
			y = number(t, s[1:])
		}
	}
	if math.Abs(x-frameRight) > 0.1 || math.Abs(y-frameTop) > 0.1 {
		t.Errorf("the path ends at %v, %v", x, y)
	}
	if len(steps) < 100 {
		t.Errorf("only %d steps", len(steps))
	}
}

func number(t *testing.T, s string) float64 {
	t.Helper()
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// tarAt is the step function of a curve.
func tarAt(c Curve, far float64) float64 {
	tar := 0.0
	for _, p := range c.Points {
		if p.FAR <= far {
			tar = p.TAR
		}
	}
	return tar
}

// The FAR axis goes as far down as every rate on it can be measured.
func TestFARAxisEndsWhereMeasuringDoes(t *testing.T) {
	for _, c := range []struct{ different, decades int }{
		{0, 4}, {3000, 4}, {99_999, 4}, {100_000, 5}, {999_999, 5}, {1_000_000, 6}, {15_658_489, 7}, {1_000_000_000, 9},
	} {
		chart := Chart{Different: c.different, Curves: []Curve{power("a", 0.004, 100)}}
		svg := string(chart.SVG())
		lowest, below := fmt.Sprintf(">1e-%d</text>", c.decades), fmt.Sprintf(">1e-%d</text>", c.decades+1)
		if chart.axes().far.decades != c.decades || !strings.Contains(svg, lowest) || strings.Contains(svg, below) {
			t.Errorf("%d different pairs: axis %+v, want %d decades", c.different, chart.axes().far, c.decades)
		}
		if shaded := strings.Contains(svg, "shaded"); shaded != (c.different < 10_000) {
			t.Errorf("%d different pairs: shaded is %v", c.different, shaded)
		}
	}
}

func TestLargeCurvesStaySmall(t *testing.T) {
	c := Chart{Different: 200_000, Curves: []Curve{power("a", 0.05, 200_000)}}
	if n := len(c.SVG()); n > 100_000 {
		t.Errorf("%d bytes", n)
	}
}

func TestRatesOutsideTheAxis(t *testing.T) {
	none := Curve{Label: "none", Points: []Point{{0, 0}, {1, 1}}}
	svg := Chart{Different: 100_000, Curves: []Curve{none, {Label: "no points"}}}.SVG()
	if strings.Contains(string(svg), "NaN") || strings.Contains(string(svg), "Inf") {
		t.Errorf("not finite: %s", svg)
	}
	if strings.Contains(string(svg), "shaded") {
		t.Error("shading although one false accept is left of the axis")
	}
	texts(t, svg)
}

func TestShortened(t *testing.T) {
	for _, c := range []struct {
		text string
		n    int
		want string
	}{{"abc", 3, "abc"}, {"abcd", 3, "…cd"}, {"äöüß", 3, "…üß"}} {
		if got := shortened(c.text, c.n); got != c.want {
			t.Errorf("%s in %d: %s, want %s", c.text, c.n, got, c.want)
		}
	}
}

func TestManyCurvesLookDifferent(t *testing.T) {
	looks := map[string]int{}
	for i := range len(light.curves) * len(dashes) {
		if before, taken := looks[stroke(i)]; taken {
			t.Errorf("curves %d and %d look the same", before, i)
		}
		looks[stroke(i)] = i
	}
}

// FuzzLabels: any label gives a well-formed document that shows it.
func FuzzLabels(f *testing.F) {
	f.Add("run/student.onnx")
	f.Add(`<script>alert("&amp;")</script>]]>`)
	f.Add("\x00\x1b[31m\xff\uffff\u0085")
	f.Fuzz(func(t *testing.T, label string) {
		c := power(label, 0.5, 3)
		plain := regexp.MustCompile(`^[ -~]{1,60}$`)
		for _, p := range []picture{
			Chart{Title: label, Subtitle: label, Different: 3, Curves: []Curve{c}},
			DETChart{Title: label, Same: 3, Different: 3, Curves: []DETCurve{{Label: label, Note: label}}},
			HistogramChart{Title: label, Panels: []Histogram{{Label: label, Marks: []Mark{{0, label}}}}},
		} {
			got := texts(t, p.SVG())
			if plain.MatchString(label) && !strings.Contains(strings.Join(got, "\n"), label) {
				t.Errorf("%q is not in %q", label, got)
			}
		}
	})
}
