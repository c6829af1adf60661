package plot

import (
	"fmt"
	"math"
	"strings"

	"facepipe/internal/plain"
)

// Scatter shows groups of points, such as accuracy over cost.
type Scatter struct {
	Title string
	// X and Y are the titles of the axes.
	X, Y   string
	Groups []Points
}

// Points are those of one group.
type Points struct {
	Label string
	At    [][2]float64
}

// finite are the points that can be drawn.
func (p Points) finite() (at [][2]float64) {
	for _, one := range p.At {
		if !math.IsNaN(one[0]+one[1]) && !math.IsInf(one[0], 0) && !math.IsInf(one[1], 0) {
			at = append(at, one)
		}
	}
	return at
}

// SVG draws the chart.
func (s Scatter) SVG() []byte {
	d := beginSmall(s.Title, s.describe())
	legend := Lines{Series: make([]Series, len(s.Groups))}
	left, right, low, high := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for i, g := range s.Groups {
		legend.Series[i].Label = g.Label
		for _, at := range g.finite() {
			left, right, low, high = min(left, at[0]), max(right, at[0]), min(low, at[1]), max(high, at[1])
		}
	}
	if left > right {
		d.text("subtitle", "middle", smallWidth/2, smallHeight/2, "nothing to draw")
		return d.end()
	}
	x, y := linear(left, right, 5, true), linear(low, high, 4, true)
	x.from, x.to = smallLeft, smallRight
	y.from, y.to = smallBase, min(smallTop+smallLegend*float64(legend.legendLines()), smallBase-smallHeight/3)
	drawSmallFrame(d, x, y, s.X)
	d.text("axis", "start", smallLeft, smallBase+36, s.Y+" ↑")
	for i, g := range s.Groups {
		for _, at := range g.finite() {
			d.add(`<circle class="f%d" cx="%s" cy="%s" r="%s"><title>%s</title></circle>`, hue(i), coord(x.of(at[0])), coord(y.of(at[1])), radius(i),
				plain.XML(fmt.Sprintf("%s: %.4g, %.4g", g.Label, at[0], at[1])))
		}
	}
	legend.drawLegend(d)
	return d.end()
}

// radius of the points of a group: those of one colour differ in size.
func radius(group int) string { return coord(3 + 1.2*float64(group/len(light.curves)%3)) }

// describe is the chart in words: the middle of each group.
func (s Scatter) describe() string {
	var texts []string
	for _, g := range s.Groups {
		at := g.finite()
		if len(at) == 0 {
			continue
		}
		var x, y float64
		for _, one := range at {
			x, y = x+one[0]/float64(len(at)), y+one[1]/float64(len(at))
		}
		texts = append(texts, fmt.Sprintf("%s: %s %.4g, %s %.4g", g.Label, s.X, x, s.Y, y))
	}
	return strings.Join(texts, "; ")
}
