package plot

import (
	"fmt"
	"strings"
)

// DETChart is a detection error trade-off: FNMR against FMR, both on logarithmic axes down to
// the least rates that so many pairs can show.
type DETChart struct {
	Title, Subtitle string
	// Same and Different are the numbers of pairs. A rate below one in that many cannot be
	// told from zero: no curve is drawn there, and the chart is shaded.
	Same, Different int
	Curves          []DETCurve
}

// DETCurve is the curve of one model.
type DETCurve struct {
	// Label and Note are shown in the legend, left and right.
	Label, Note string
	// Points ascend in FMR and descend in FNMR.
	Points []DETPoint
}

// DETPoint is the pair of rates of one threshold, each 0 to 1.
type DETPoint struct {
	FMR, FNMR float64
	// Low and High bound FNMR at this FMR; both are 0 where that is unknown.
	Low, High float64
}

const detFrame = "det-frame"

// detAxes are what curves are drawn along, and the pixels of the least rates.
type detAxes struct {
	fmr, fnmr      logAxis
	floorX, floorY float64
}

func (c DETChart) axes() detAxes {
	a := detAxes{fmr: horizontal(decadesDownTo(c.Different)), fnmr: vertical(decadesDownTo(c.Same))}
	a.floorX, a.floorY = a.fmr.at(1/float64(max(c.Different, 1))), a.fnmr.at(1/float64(max(c.Same, 1)))
	return a
}

func (a detAxes) x(fmr float64) float64 { return max(a.fmr.at(fmr), a.floorX) }

func (a detAxes) y(fnmr float64) float64 { return min(a.fnmr.at(fnmr), a.floorY) }

// SVG draws the chart.
func (c DETChart) SVG() []byte {
	d := begin(c.Title, c.Subtitle, c.describe(), heightWith(len(c.Curves)))
	a := c.axes()
	d.clip(detFrame)
	c.drawBlindZones(d, a)
	a.fmr.drawBelow(d, "false match rate (FMR = FAR)")
	a.fnmr.drawLeft(d, "false non-match rate (FNMR = 1 − TAR)")
	least := max(a.floorX, a.fmr.at(a.fnmr.rate(a.floorY)))
	d.add(`<path class="chance" clip-path="url(#%s)" d="M%s %sL%s %s"><title>equal rates (EER)</title></path>`, detFrame,
		coord(least), coord(a.fnmr.at(a.fmr.rate(least))), coord(frameRight), coord(frameTop))
	d.frame()
	for i, curve := range c.Curves {
		if band := curve.band(a); band != "" {
			d.add(`<path class="band f%d" clip-path="url(#%s)" d="%s"/>`, hue(i), detFrame, band)
		}
	}
	for i, curve := range c.Curves {
		if len(curve.Points) > 0 {
			d.curve(i, detFrame, curve.Label, curve.path(a))
		}
		d.legend(i, curve.Label, curve.Note)
	}
	return d.end()
}

func (c DETChart) describe() string {
	return describe(c.Subtitle, func(yield func(label, note string)) {
		for _, curve := range c.Curves {
			yield(curve.Label, curve.Note)
		}
	})
}

// drawBlindZones shades the rates below one error.
func (c DETChart) drawBlindZones(d *drawing, a detAxes) {
	if coord(a.floorX) != coord(frameLeft) {
		d.rect("blind", frameLeft, frameTop, a.floorX, frameBase)
	}
	if coord(a.floorY) != coord(frameBase) {
		d.rect("blind", a.floorX, a.floorY, frameRight, frameBase)
	}
	d.text("remark", "end", frameRight, frameTop-9,
		fmt.Sprintf("shaded: not measurable, below one error in %d and in %d pairs", c.Different, c.Same))
}

// path is the curve as a staircase from the least FMR to the least FNMR; a cross where both
// are below one error.
func (c DETCurve) path(a detAxes) string {
	var path strings.Builder
	x, y := coord(a.x(c.Points[0].FMR)), coord(a.y(c.Points[0].FNMR))
	if len(c.Points) == 1 {
		const arm = 6
		return fmt.Sprintf("M%s %sh%dM%s %sv%d", coord(a.x(0)-arm), y, 2*arm, x, coord(a.y(0)-arm), 2*arm)
	}
	fmt.Fprintf(&path, "M%s %s", x, y)
	for _, p := range c.Points[1:] {
		nextX, nextY := coord(a.x(p.FMR)), coord(a.y(p.FNMR))
		if nextY == y {
			continue // the next point draws the line on
		}
		if nextX != x {
			fmt.Fprintf(&path, "H%s", nextX)
		}
		fmt.Fprintf(&path, "V%s", nextY)
		x, y = nextX, nextY
	}
	if end := coord(a.x(c.Points[len(c.Points)-1].FMR)); end != x {
		fmt.Fprintf(&path, "H%s", end)
	}
	return path.String()
}

// band is the area between the bounds, "" if they are unknown.
func (c DETCurve) band(a detAxes) string {
	var upper, lower []string
	for _, p := range c.Points {
		if p.High > 0 {
			upper = append(upper, coord(a.x(p.FMR))+" "+coord(a.y(p.High)))
			lower = append([]string{coord(a.x(p.FMR)) + " " + coord(a.y(p.Low))}, lower...)
		}
	}
	if len(upper) < 2 {
		return ""
	}
	return "M" + strings.Join(append(upper, lower...), "L") + "Z"
}
