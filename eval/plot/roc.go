// Package plot draws receiver operating characteristics as SVG: false accept rates on a
// logarithmic axis from 1e-4 to 1, and from further down as far as there are trials enough
// to measure them, true accept rates on a linear one.
//
// The output is self-contained, deterministic, well-formed XML whatever the labels, and
// made for a light background.
package plot

import (
	"fmt"
	"strings"
)

// Chart is the content of a plot.
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

// colours stay apart for colour-blind readers (after Okabe and Ito, "Color Universal
// Design", 2008); dashes tell further curves apart.
var (
	colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}
	dashes  = []string{"", "7 4", "2 3", "10 3 2 3"}
)

const style = `text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #1f2933 }
.title { font-size: 20px; font-weight: 600 }
.subtitle { font-size: 13px; fill: #52606d }
.tick, .remark { font-size: 12px; fill: #52606d }
.axis, .label, .note { font-size: 13px }
.note { fill: #52606d }
.grid { stroke: #d9dee4; stroke-width: 1 }
.fine { stroke: #eff2f5; stroke-width: 1 }
.frame { fill: none; stroke: #9aa5b1; stroke-width: 1 }
.blind { fill: #f5f6f8 }
.chance { fill: none; stroke: #9aa5b1; stroke-width: 1.2; stroke-dasharray: 3 4 }
.curve { fill: none; stroke-width: 2.2; stroke-linejoin: round }`

// The legend is below the frame, a line a curve.
const (
	legendTop  = frameBase + 80
	legendLine = 24.0
	labelChars = 60
)

// SVG draws the chart.
func (c Chart) SVG() []byte {
	d := &drawing{}
	height := legendTop + legendLine*float64(len(c.Curves))
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`,
		coord(width), coord(height), coord(width), coord(height))
	d.add("<title>%s</title>", escaped(c.Title))
	d.add("<desc>%s</desc>", escaped(c.describe()))
	d.add("<style>\n%s\n</style>", style)
	d.add(`<rect width="%s" height="%s" fill="#ffffff"/>`, coord(width), coord(height))
	d.text("title", "start", frameLeft, 38, c.Title)
	d.text("subtitle", "start", frameLeft, 62, c.Subtitle)
	c.drawFrame(d)
	for i, curve := range c.Curves {
		curve.draw(d, i, c.axes())
		curve.drawLegend(d, i)
	}
	d.add("</svg>")
	return d.Bytes()
}

// describe is the chart in words, for those who do not see it.
func (c Chart) describe() string {
	lines := []string{c.Subtitle}
	for _, curve := range c.Curves {
		lines = append(lines, curve.Label+": "+curve.Note)
	}
	return strings.Join(lines, "; ")
}

// axes are what curves are drawn along.
type axes struct {
	far farAxis
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
func (c Chart) blindEnd(far farAxis) float64 { return far.xOf(1 / float64(max(c.Different, 1))) }

func (c Chart) drawFrame(d *drawing) {
	a := c.axes()
	d.add(`<clipPath id="frame"><rect x="%s" y="%s" width="%s" height="%s"/></clipPath>`,
		coord(frameLeft), coord(frameTop-2), coord(frameRight-frameLeft+2), coord(frameBase-frameTop+3))
	c.drawBlindZone(d, c.blindEnd(a.far))
	a.far.draw(d)
	a.tar.draw(d)
	if a.tar.from == 0 {
		a.drawChance(d)
	}
	d.add(`<rect class="frame" x="%s" y="%s" width="%s" height="%s"/>`,
		coord(frameLeft), coord(frameTop), coord(frameRight-frameLeft), coord(frameBase-frameTop))
}

// drawBlindZone shades the rates below one false accept, up to end.
func (c Chart) drawBlindZone(d *drawing, end float64) {
	if coord(end) == coord(frameLeft) {
		return
	}
	d.add(`<rect class="blind" x="%s" y="%s" width="%s" height="%s"/>`,
		coord(frameLeft), coord(frameTop), coord(end-frameLeft), coord(frameBase-frameTop))
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
		fmt.Fprintf(&path, "%s%s %s", command, coord(x), coord(a.tar.yOf(a.far.farOf(x))))
	}
	d.add(`<path class="chance" d="%s"><title>chance</title></path>`, path.String())
}

// at is the true accept rate of the step function at x.
func (c Curve) at(x float64, far farAxis) float64 {
	tar := 0.0
	for _, p := range c.Points {
		if tenths(far.xOf(p.FAR)) <= tenths(x) {
			tar = p.TAR
		}
	}
	return tar
}

func (c Curve) draw(d *drawing, number int, a axes) {
	d.add(`<path class="curve" clip-path="url(#frame)" %s d="%s"><title>%s</title></path>`, stroke(number), c.path(a), escaped(c.Label))
}

// path is the curve as a staircase. Steps that fall on one tenth of a pixel are drawn
// as one.
func (c Curve) path(a axes) string {
	var path strings.Builder
	y := coord(a.tar.yOf(c.at(frameLeft, a.far)))
	fmt.Fprintf(&path, "M%s %s", coord(frameLeft), y)
	for i, p := range c.Points {
		x := tenths(a.far.xOf(p.FAR))
		last := i+1 == len(c.Points)
		if x == tenths(frameLeft) || (!last && tenths(a.far.xOf(c.Points[i+1].FAR)) == x) {
			continue
		}
		next := coord(a.tar.yOf(p.TAR))
		if next != y || last {
			fmt.Fprintf(&path, "H%s", coord(a.far.xOf(p.FAR)))
		}
		if next != y {
			fmt.Fprintf(&path, "V%s", next)
		}
		y = next
	}
	return path.String()
}

func (c Curve) drawLegend(d *drawing, number int) {
	y := legendTop + legendLine*float64(number)
	d.add(`<line class="curve" %s x1="%s" y1="%s" x2="%s" y2="%s"/>`,
		stroke(number), coord(frameLeft), coord(y-4.5), coord(frameLeft+34), coord(y-4.5))
	d.text("label", "start", frameLeft+46, y, shortened(c.Label, labelChars))
	d.text("note", "end", frameRight, y, c.Note)
}

// stroke is the look of curve number i.
func stroke(i int) string {
	look := fmt.Sprintf(`stroke="%s"`, colours[i%len(colours)])
	if dash := dashes[i/len(colours)%len(dashes)]; dash != "" {
		look += fmt.Sprintf(` stroke-dasharray="%s"`, dash)
	}
	return look
}
