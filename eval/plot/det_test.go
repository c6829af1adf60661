package plot

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tradeOff is the curve FMR · FNMR = product, for whole numbers of errors, with bounds.
func tradeOff(label string, product float64, same, different int) DETCurve {
	c := DETCurve{Label: label, Note: fmt.Sprintf("product %g", product)}
	rejects := same
	for accepts := 0; accepts <= different; accepts++ {
		fnmr := min(1, product/max(float64(accepts)/float64(different), 0.5/float64(different)))
		if n := int(fnmr * float64(same)); n < rejects {
			rejects = n
			p := DETPoint{FMR: float64(accepts) / float64(different), FNMR: float64(n) / float64(same)}
			p.High, p.Low = 1.5*p.FNMR+1/float64(same), 0.6*p.FNMR
			c.Points = append(c.Points, p)
		}
	}
	return c
}

// bells are histograms of two normal distributions.
func bells(label string, same, std float64) Histogram {
	bell := func(mean, std float64) []int {
		counts := make([]int, 64)
		for i := range counts {
			z := ((float64(i)+0.5)/32 - 1 - mean) / std
			counts[i] = int(3000 * math.Exp(-z*z/2) / std / 32 / math.Sqrt(2*math.Pi))
		}
		return counts
	}
	return Histogram{Label: label, Note: "accuracy 99 %", Same: bell(same, std), Different: bell(0, 0.08), Marks: []Mark{{0.23, "FMR 1e-3"}}}
}

// The curve passes through its points, and through nothing that cannot be measured.
func TestDETPath(t *testing.T) {
	c := DETChart{Same: 200, Different: 1000, Curves: []DETCurve{tradeOff("a", 1e-3, 200, 1000)}}
	a := c.axes()
	if a.fmr.decades != 3 || a.fnmr.decades != 3 || a.floorX != frameLeft || a.floorY >= frameBase {
		t.Fatalf("axes %+v", a)
	}
	var x, y float64
	at := map[string]bool{}
	for _, s := range regexp.MustCompile(`[MHV][^MHV]+`).FindAllString(c.Curves[0].path(a), -1) {
		switch s[0] {
		case 'M':
			if _, err := fmt.Sscan(s[1:], &x, &y); err != nil {
				t.Fatal(err)
			}
		case 'H':
			if next := number(t, s[1:]); next < x {
				t.Errorf("back to %v from %v", next, x)
			} else {
				x = next
			}
		case 'V':
			if next := number(t, s[1:]); next < y {
				t.Errorf("up to %v from %v", next, y)
			} else {
				y = next
			}
		}
		at[coord(x)+" "+coord(y)] = true
		if x < a.floorX-0.1 || y > a.floorY+0.1 {
			t.Errorf("at %v, %v: below one error", x, y)
		}
	}
	for _, p := range c.Curves[0].Points {
		if place := coord(a.x(p.FMR)) + " " + coord(a.y(p.FNMR)); !at[place] {
			t.Errorf("the path misses %+v at %s", p, place)
		}
	}
}

func TestDecadesDownTo(t *testing.T) {
	for n, want := range map[int]int{0: 2, 2: 2, 100: 2, 101: 3, 3000: 4, 10_000: 4, 15_638_932: 8, math.MaxInt: 18} {
		if got := decadesDownTo(n); got != want {
			t.Errorf("%d pairs: %d decades, want %d", n, got, want)
		}
	}
}

func TestDETShading(t *testing.T) {
	for _, c := range []struct{ same, different, zones int }{{3000, 3000, 2}, {100, 3000, 1}, {1000, 10_000, 0}} {
		svg := string(DETChart{Same: c.same, Different: c.different, Curves: []DETCurve{{Label: "none"}}}.SVG())
		if n := strings.Count(svg, `<rect class="blind"`); n != c.zones || strings.Contains(svg, "NaN") {
			t.Errorf("%+v: %d zones", c, n)
		}
	}
}

// A band is drawn where bounds are known, within what can be measured.
func TestBand(t *testing.T) {
	c := DETChart{Same: 200, Different: 1000, Curves: []DETCurve{tradeOff("a", 1e-3, 200, 1000)}}
	a := c.axes()
	band := c.Curves[0].band(a)
	if n := len(strings.Split(band, "L")); n != 2*len(c.Curves[0].Points) {
		t.Errorf("%d corners of %d points", n, len(c.Curves[0].Points))
	}
	for _, corner := range strings.Split(strings.Trim(band, "MZ"), "L") {
		y := number(t, strings.Fields(corner)[1])
		if y > a.floorY+0.1 || y < frameTop-0.1 && y < a.fnmr.at(1.6) {
			t.Errorf("corner %s", corner)
		}
	}
	for i := range c.Curves[0].Points {
		c.Curves[0].Points[i].Low, c.Curves[0].Points[i].High = 0, 0
	}
	if strings.Contains(string(c.SVG()), `class="band`) {
		t.Error("a band without bounds")
	}
}

func TestHistogramsOfLittle(t *testing.T) {
	for name, h := range map[string]Histogram{
		"nothing": {}, "zeros": {Same: make([]int, 64), Different: make([]int, 64)},
		"one kind": {Same: append(make([]int, 63), 5), Different: make([]int, 64), Marks: []Mark{{-0.5, "far out"}}},
	} {
		svg := string(HistogramChart{Panels: []Histogram{h}}.SVG())
		texts(t, []byte(svg))
		if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || strings.Contains(svg, "far out") {
			t.Errorf("%s: %s", name, svg)
		}
		if areas := strings.Count(svg, `<path class="area`); areas != map[string]int{"one kind": 1}[name] {
			t.Errorf("%s: %d areas", name, areas)
		}
	}
}

// Bars stand where their cosines are.
func TestHistogramAxis(t *testing.T) {
	same, different := make([]int, 64), make([]int, 64)
	different[32], same[47] = 1, 1
	a := HistogramChart{Panels: []Histogram{{Same: same, Different: different}}}.axis()
	if a != (binAxis{32, 48, 64}) || a.at(0) != frameLeft || a.at(0.5) != frameRight || a.at(0.25) != (frameLeft+frameRight)/2 {
		t.Errorf("%+v: 0 at %v, 0.5 at %v", a, a.at(0), a.at(0.5))
	}
}

// luminance is that of a colour #rrggbb in WCAG 2.2.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		v := float64(n) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		sum += weight * v
	}
	return sum
}

// Text and curves can be seen on both backgrounds, and every colour has its counterpart.
func TestBothSchemes(t *testing.T) {
	for name, p := range map[string]palette{"light": light, "dark": dark} {
		contrast := func(colour string) float64 {
			a, b := luminance(t, colour), luminance(t, p.paper)
			return (max(a, b) + 0.05) / (min(a, b) + 0.05)
		}
		for _, text := range []string{p.ink, p.quiet} {
			if c := contrast(text); c < 4.5 {
				t.Errorf("%s: text %s has a contrast of %.2f", name, text, c)
			}
		}
		for _, curve := range p.curves {
			if c := contrast(curve); c < 2.2 {
				t.Errorf("%s: curve %s has a contrast of %.2f", name, curve, c)
			}
		}
	}
	if strings.Count(dark.rules(), "\n") != strings.Count(light.rules(), "\n") {
		t.Error("the schemes have different rules")
	}
	for _, p := range []picture{Chart{}, DETChart{}, HistogramChart{}} {
		svg := string(p.SVG())
		if !strings.Contains(svg, "@media screen and (prefers-color-scheme: dark)") || strings.Contains(svg, `fill="#`) || strings.Contains(svg, `stroke="#`) {
			t.Errorf("colours beside the schemes: %s", svg)
		}
	}
}

// A model without errors is seen, and so are curves whose points fall together.
func TestDETOfAPerfectModel(t *testing.T) {
	for _, points := range [][]DETPoint{{{}}, {{FNMR: 0.5}, {}}, {{}, {FMR: 1}}} {
		c := DETChart{Same: 10, Different: 10, Curves: []DETCurve{{Label: "a", Points: points}}}
		if path := c.Curves[0].path(c.axes()); !regexp.MustCompile(`[hHvV]`).MatchString(path) {
			t.Errorf("%v: %s draws nothing", points, path)
		}
	}
}
