package plot

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"facepipe/internal/plain"
)

// Lines is a chart of quantities over another one, such as losses over a run's steps.
type Lines struct {
	Title string
	// X is the title of the horizontal axis.
	X      string
	Series []Series
	// Log has the vertical axis in powers of ten. What is not above zero is left out.
	Log bool
}

// Series is one quantity.
type Series struct {
	Label string
	// Points ascend in X. One that is not finite breaks the line.
	Points []Sample
}

// Sample is a value, or the mean of several and the range they are in.
type Sample struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// The frame of a small chart, which shows its text in full size in a column of a page.
const (
	smallWidth  = 380.0
	smallHeight = 240.0
	smallLeft   = 52.0
	smallRight  = smallWidth - 16
	smallBase   = smallHeight - 44
	smallTop    = 42.0
	smallLegend = 18.0
	smallChars  = 20
)

// smallStyle adds to the style of all charts what small ones have.
const smallStyle = `.plot .title { font-size: 15px }
.plot .tick, .plot .axis, .plot .label { font-size: 12px }
.plot .thin { stroke-width: 1.8 }
.plot .bar { stroke: none }`

// scale is an axis of a small chart.
type scale struct {
	low, high float64
	log       bool
	ticks     []float64
	from, to  float64 // in pixels
}

// of is where a value is, in pixels.
func (s scale) of(v float64) float64 {
	low, high := s.low, s.high
	if s.log {
		low, high, v = math.Log10(low), math.Log10(high), math.Log10(v)
	}
	return s.from + (v-low)/(high-low)*(s.to-s.from)
}

// linear is a scale from low to high, widened to whole ticks if it may be.
func linear(low, high float64, count int, widen bool) scale {
	// Values so near to each other are one: no label tells them apart, and counting in steps of their
	// difference would not come to an end.
	if !(high-low > 1e-9*max(math.Abs(low), math.Abs(high))) {
		low, high = low-max(math.Abs(low)/2, 0.5), high+max(math.Abs(high)/2, 0.5)
	}
	step := niceStep((high - low) / float64(count))
	s := scale{low: low, high: high}
	if widen {
		s.low, s.high = math.Floor(low/step+1e-9)*step, math.Ceil(high/step-1e-9)*step
	}
	for k := math.Ceil(s.low/step - 1e-9); k*step <= s.high+step*1e-9; k++ {
		s.ticks = append(s.ticks, k*step)
	}
	return s
}

// decades is a logarithmic scale over positive values.
func decades(low, high float64) scale {
	from, to := math.Floor(math.Log10(low)), math.Ceil(math.Log10(high))
	if from == to {
		to++
	}
	s := scale{low: math.Pow(10, from), high: math.Pow(10, to), log: true}
	every := math.Ceil((to - from) / 6)
	for e := from; e <= to; e += every {
		s.ticks = append(s.ticks, math.Pow(10, e))
	}
	return s
}

// niceStep is the least of 1, 2, 5, 10 ... times a power of ten that is not below a step.
func niceStep(step float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(step)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= step*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// tickLabel is a number as briefly as it can be told.
func tickLabel(v float64) string {
	for _, unit := range []struct {
		of   float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e4, "k"}} {
		if math.Abs(v) >= unit.of {
			divisor := min(unit.of, 1e9)
			if unit.name == "k" {
				divisor = 1e3
			}
			return strconv.FormatFloat(v/divisor, 'g', 4, 64) + unit.name
		}
	}
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	return strings.Replace(strconv.FormatFloat(v, 'g', 4, 64), "e-0", "e-", 1)
}

// usable says whether a sample can be drawn.
func (l Lines) usable(p Sample) bool {
	sound := !math.IsNaN(p.X+p.Y) && !math.IsInf(p.X+p.Y, 0)
	return sound && (!l.Log || p.Y > 0)
}

// scales are the axes that hold all samples; ok is false if there is none. The vertical one
// follows the means and not the extremes: a single step that went astray is not the story.
func (l Lines) scales() (x, y scale, ok bool) {
	left, right, low, high := math.Inf(1), math.Inf(-1), math.Inf(1), math.Inf(-1)
	for _, s := range l.Series {
		for _, p := range s.Points {
			if l.usable(p) {
				left, right, low, high = min(left, p.X), max(right, p.X), min(low, p.Y), max(high, p.Y)
			}
		}
	}
	if left > right {
		return x, y, false
	}
	x, y = linear(left, right, 5, false), linear(low, high, 5, true)
	if l.Log {
		y = decades(low, high)
	}
	x.from, x.to = smallLeft, smallRight
	y.from, y.to = smallBase, smallTop+smallLegend*float64(l.legendLines())
	return x, y, true
}

// legendLines is how many lines the legend has, two labels a line; a lone series has none.
func (l Lines) legendLines() int {
	if len(l.Series) < 2 {
		return 0
	}
	return (len(l.Series) + 1) / 2
}

// SVG draws the chart.
func (l Lines) SVG() []byte {
	x, y, ok := l.scales()
	d := beginSmall(l.Title, l.describe())
	if ok {
		drawSmallFrame(d, x, y, l.X)
		for i, s := range l.Series {
			l.drawSeries(d, i, s, x, y)
		}
		l.drawLegend(d)
	} else {
		d.text("subtitle", "middle", smallWidth/2, smallHeight/2, "nothing to draw")
	}
	return d.end()
}

// describe is the chart in words: where every series begins and ends.
func (l Lines) describe() string {
	var texts []string
	for _, s := range l.Series {
		sound := slices.DeleteFunc(slices.Clone(s.Points), func(p Sample) bool { return !l.usable(p) })
		if len(sound) > 0 {
			texts = append(texts, fmt.Sprintf("%s: from %.4g to %.4g", s.Label, sound[0].Y, sound[len(sound)-1].Y))
		}
	}
	return strings.Join(texts, "; ")
}

// beginSmall starts a small picture; words are the picture for those who do not see it.
func beginSmall(title, words string) *drawing { return beginSized(title, words, smallHeight) }

// beginSized is [beginSmall] of another height.
func beginSized(title, words string, height float64) *drawing {
	d := &drawing{}
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`,
		coord(smallWidth), coord(height), coord(smallWidth), coord(height))
	d.add("<title>%s</title>", plain.XML(title))
	d.add("<desc>%s</desc>", plain.XML(words))
	d.add("<style>\n%s\n%s\n</style>", style(), smallStyle)
	d.add(`<rect class="paper" width="%s" height="%s"/>`, coord(smallWidth), coord(smallHeight))
	d.text("title", "start", 0, 22, shortened(title, 44))
	return d
}

// drawSmallFrame draws grid, ticks and the title of the horizontal axis.
func drawSmallFrame(d *drawing, x, y scale, about string) {
	for _, v := range y.ticks {
		d.line("grid", smallLeft, y.of(v), smallRight, y.of(v))
		d.text("tick", "end", smallLeft-8, y.of(v)+4, tickLabel(v))
	}
	for _, v := range x.ticks {
		d.line("fine", x.of(v), y.to, x.of(v), smallBase)
		d.text("tick", "middle", x.of(v), smallBase+17, tickLabel(v))
	}
	d.line("frame", smallLeft, smallBase, smallRight, smallBase)
	d.text("axis", "end", smallRight, smallBase+36, about)
}

// drawSeries draws the line of means, and the range they are the means of behind it.
func (l Lines) drawSeries(d *drawing, number int, s Series, x, y scale) {
	for _, run := range l.runs(s.Points) {
		var line, upper strings.Builder
		var lower []string
		command := "M"
		for _, p := range run {
			at := coord(x.of(p.X))
			fmt.Fprintf(&line, "%s%s %s", command, at, coord(y.of(p.Y)))
			fmt.Fprintf(&upper, "%s%s %s", command, at, coord(y.within(p.High)))
			lower = append(lower, fmt.Sprintf("L%s %s", at, coord(y.within(p.Low))))
			command = "L"
		}
		slices.Reverse(lower)
		if slices.ContainsFunc(run, func(p Sample) bool { return p.High > p.Low }) {
			d.add(`<path class="band f%d" d="%s%sZ"/>`, hue(number), upper.String(), strings.Join(lower, ""))
		}
		if len(run) == 1 {
			d.add(`<circle class="f%d" cx="%s" cy="%s" r="2.5"/>`, hue(number), coord(x.of(run[0].X)), coord(y.of(run[0].Y)))
			continue
		}
		d.add(`<path %s d="%s"><title>%s</title></path>`, thin(number), line.String(), plain.XML(s.Label))
	}
}

// within is where a value is, or the end of the axis that it is beyond.
func (s scale) within(v float64) float64 { return s.of(min(max(v, s.low), s.high)) }

// runs are the pieces of a line between samples that cannot be drawn.
func (l Lines) runs(points []Sample) (runs [][]Sample) {
	var run []Sample
	for _, p := range points {
		if l.usable(p) {
			run = append(run, p)
			continue
		}
		if len(run) > 0 {
			runs = append(runs, run)
		}
		run = nil
	}
	if len(run) > 0 {
		runs = append(runs, run)
	}
	return runs
}

func (l Lines) drawLegend(d *drawing) {
	if l.legendLines() == 0 {
		return
	}
	const column = (smallRight - smallLeft) / 2
	for i, s := range l.Series {
		left, base := smallLeft+column*float64(i%2), smallTop+smallLegend*float64(i/2)-2
		d.add(`<line %s x1="%s" y1="%s" x2="%s" y2="%s"/>`, thin(i), coord(left), coord(base-4), coord(left+20), coord(base-4))
		d.text("label", "start", left+26, base, shortened(s.Label, smallChars))
	}
}

// thin is the look of curve number i where there is little room.
func thin(i int) string { return strings.Replace(stroke(i), `class="curve `, `class="curve thin `, 1) }
