// Package plot draws what verification finds as SVG: receiver operating characteristics
// ([Chart]), detection error trade-offs ([DETChart]) and histograms of scores
// ([HistogramChart]).
//
// The output is self-contained, deterministic, well-formed XML whatever the labels. It is
// drawn for light backgrounds, and for dark ones on screens that prefer them.
package plot

import (
	"fmt"
	"strings"
)

// Chart is a ROC: false accept rates on a logarithmic axis from 1e-4 to 1, and from further
// down as far as there are trials enough to measure them, true accept rates on a linear one.
type Chart struct {
	Title, Subtitle string
	// Different is the number of different-person pairs. A rate below one in that many
	// cannot be told from zero: the chart is shaded there or ends before, and its scale is
	// chosen for the rest.
	Different int
	Curves    []Curve
}

// Curve is one ROC.
type Curve struct {
	// Label and Note are shown in the legend, left and right.
	Label, Note string
	// Points ascend in both rates, from (0, 0) to (1, 1). The curve is the step
	// function that they stand for: between two points no threshold exists.
	Points []Point
}

// Point is the pair of rates of one threshold, each 0 to 1.
type Point struct{ FAR, TAR float64 }

// rocFrame is the name of a ROC's frame. A page may hold pictures of several kinds.
const rocFrame = "roc-frame"

// SVG draws the chart.
func (c Chart) SVG() []byte {
	d := begin(c.Title, c.Subtitle, c.describe(), heightWith(len(c.Curves)))
	c.drawFrame(d)
	for i, curve := range c.Curves {
		d.curve(i, rocFrame, curve.Label, curve.path(c.axes()))
		d.legend(i, curve.Label, curve.Note)
	}
	return d.end()
}

func (c Chart) describe() string {
	return describe(c.Subtitle, func(yield func(label, note string)) {
		for _, curve := range c.Curves {
			yield(curve.Label, curve.Note)
		}
	})
}

// axes are what curves are drawn along.
type axes struct {
	far logAxis
	tar tarAxis
}

// axes are the FAR axis for the number of pairs, and the finest TAR axis that holds all
// curves from the first rate on that can be told from zero.
func (c Chart) axes() axes {
	a := axes{far: chooseFARAxis(c.Different)}
	lowest := 1.0
	for _, curve := range c.Curves {
		lowest = min(lowest, curve.at(c.blindEnd(a.far), a.far))
	}
	a.tar = chooseTARAxis(lowest)
	return a
}

// blindEnd is where the shading ends.
func (c Chart) blindEnd(far logAxis) float64 { return far.at(1 / float64(max(c.Different, 1))) }

func (c Chart) drawFrame(d *drawing) {
	a := c.axes()
	d.clip(rocFrame)
	c.drawBlindZone(d, c.blindEnd(a.far))
	a.far.drawBelow(d, "false accept rate (FAR)")
	a.tar.draw(d)
	if a.tar.from == 0 {
		a.drawChance(d)
	}
	d.frame()
}

// drawBlindZone shades the rates below one false accept, up to end.
func (c Chart) drawBlindZone(d *drawing, end float64) {
	if coord(end) == coord(frameLeft) {
		return
	}
	d.rect("blind", frameLeft, frameTop, end, frameBase)
	d.text("remark", "end", frameRight, frameTop-9, fmt.Sprintf("shaded: below one false accept in %d pairs", c.Different))
}

// drawChance draws what guessing gives, TAR = FAR.
func (a axes) drawChance(d *drawing) {
	var path strings.Builder
	const segments = 60
	for k := range segments + 1 {
		x := frameLeft + (frameRight-frameLeft)*float64(k)/segments
		command := "L"
		if k == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%s %s", command, coord(x), coord(a.tar.yOf(a.far.rate(x))))
	}
	d.add(`<path class="chance" d="%s"><title>chance</title></path>`, path.String())
}

// at is the true accept rate of the step function at x.
func (c Curve) at(x float64, far logAxis) float64 {
	tar := 0.0
	for _, p := range c.Points {
		if tenths(far.at(p.FAR)) <= tenths(x) {
			tar = p.TAR
		}
	}
	return tar
}

// path is the curve as a staircase. Steps that fall on one tenth of a pixel are drawn
// as one.
func (c Curve) path(a axes) string {
	var path strings.Builder
	y := coord(a.tar.yOf(c.at(frameLeft, a.far)))
	fmt.Fprintf(&path, "M%s %s", coord(frameLeft), y)
	for i, p := range c.Points {
		x := tenths(a.far.at(p.FAR))
		last := i+1 == len(c.Points)
		if x == tenths(frameLeft) || (!last && tenths(a.far.at(c.Points[i+1].FAR)) == x) {
			continue
		}
		next := coord(a.tar.yOf(p.TAR))
		if next != y || last {
			fmt.Fprintf(&path, "H%s", coord(a.far.at(p.FAR)))
		}
		if next != y {
			fmt.Fprintf(&path, "V%s", next)
		}
		y = next
	}
	return path.String()
}
