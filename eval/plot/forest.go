package plot

import (
	"fmt"
	"math"
	"strings"

	"facepipe/internal/plain"
)

// Forest shows differences with their intervals, a line each, beside the line of no difference.
type Forest struct {
	Title string
	// X is the title of the horizontal axis.
	X    string
	Rows []Interval
}

// Interval is a value with an interval, and the single values that it is the mean of.
type Interval struct {
	Label string
	Mean  float64
	// Low and High are its interval's, both NaN without one.
	Low, High float64
	// Dots are single values.
	Dots []float64
}

// usable says whether an interval can be drawn.
func (i Interval) usable() bool { return !math.IsNaN(i.Mean) && !math.IsInf(i.Mean, 0) }

// bounded says whether there is an interval.
func (i Interval) bounded() bool {
	return !math.IsNaN(i.Low+i.High) && !math.IsInf(i.Low, 0) && !math.IsInf(i.High, 0)
}

// The lines of a forest, in pixels: a label above each interval, so that names have room.
const forestLine, forestChars = 34.0, 52

// SVG draws the chart.
func (f Forest) SVG() []byte {
	height := smallTop + forestLine*float64(max(len(f.Rows), 3)) + smallHeight - smallBase
	d := beginSized(f.Title, f.describe(), height)
	base := height - (smallHeight - smallBase)
	low, high, any := f.extent()
	if !any {
		d.text("subtitle", "middle", smallWidth/2, height/2, "nothing to draw")
		return d.end()
	}
	x := linear(low, high, 5, true)
	x.from, x.to = smallLeft/2, smallRight
	for _, v := range x.ticks {
		d.line("fine", x.of(v), smallTop, x.of(v), base)
		d.text("tick", "middle", x.of(v), base+17, tickLabel(v))
	}
	d.line("frame", x.of(0), smallTop-4, x.of(0), base)
	d.text("axis", "end", smallRight, base+36, f.X)
	for i, row := range f.Rows {
		f.draw(d, row, x, smallTop+forestLine*(float64(i)+0.4))
	}
	return d.end()
}

// draw draws a row whose text ends at a height.
func (f Forest) draw(d *drawing, row Interval, x scale, y float64) {
	d.text("label", "start", smallLeft/2, y, shortened(row.Label, forestChars))
	if !row.usable() {
		return
	}
	y += forestLine / 3
	d.add("<g><title>%s</title>", plain.XML(row.words()))
	if row.bounded() {
		d.add(`<path class="curve c0" d="M%s %sL%s %s"/>`, coord(x.of(row.Low)), coord(y), coord(x.of(row.High)), coord(y))
	}
	for _, v := range row.Dots {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			d.add(`<circle class="f1" cx="%s" cy="%s" r="2.2"/>`, coord(x.of(v)), coord(y))
		}
	}
	d.add(`<circle class="f0" cx="%s" cy="%s" r="4"/>`, coord(x.of(row.Mean)), coord(y))
	d.add("</g>")
}

// extent is the range of all that is drawn, 0 among it.
func (f Forest) extent() (low, high float64, any bool) {
	for _, row := range f.Rows {
		if !row.usable() {
			continue
		}
		any = true
		values := append([]float64{row.Mean}, row.Dots...)
		if row.bounded() {
			values = append(values, row.Low, row.High)
		}
		for _, v := range values {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				low, high = min(low, v), max(high, v)
			}
		}
	}
	return low, high, any
}

// words say what a row shows.
func (i Interval) words() string {
	text := fmt.Sprintf("%s: %.4g", i.Label, i.Mean)
	if i.bounded() {
		text += fmt.Sprintf(", %.4g to %.4g", i.Low, i.High)
	}
	return text
}

// describe is the chart in words.
func (f Forest) describe() string {
	var texts []string
	for _, row := range f.Rows {
		if row.usable() {
			texts = append(texts, row.words())
		}
	}
	return strings.Join(texts, "; ")
}
