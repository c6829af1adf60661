package plot

import (
	"fmt"
	"math"

	"facepipe/internal/plain"
)

// Bars is a histogram: how many there are in each of some ranges.
type Bars struct {
	Title string
	// X is the title of the horizontal axis.
	X    string
	Bars []Bar
	// Mark is a value between the first From and the last To that is pointed at by a line,
	// such as a median; MarkLabel names it. "" for none. Named bars have no such value.
	Mark      float64
	MarkLabel string
}

// Bar is a range and the number in it.
type Bar struct {
	// Name is shown below the bar; without names the axis is of numbers, from the first From
	// to the last To.
	Name     string
	From, To float64
	Count    int
}

// Ranges counts finite values in so many ranges of equal width between the least and the
// largest.
func Ranges(values []float64, ranges int) []Bar {
	low, high := math.Inf(1), math.Inf(-1)
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			low, high = min(low, v), max(high, v)
		}
	}
	if low > high {
		return nil
	}
	if low == high {
		low, high = low-0.5, high+0.5
	}
	bars := make([]Bar, ranges)
	width := (high - low) / float64(ranges)
	for i := range bars {
		bars[i].From, bars[i].To = low+float64(i)*width, low+float64(i+1)*width
	}
	for _, v := range values {
		if v >= low && v <= high {
			bars[min(int((v-low)/width), ranges-1)].Count++
		}
	}
	return bars
}

// SVG draws the chart.
func (b Bars) SVG() []byte {
	d := beginSmall(b.Title, b.describe())
	if len(b.Bars) == 0 {
		d.text("subtitle", "middle", smallWidth/2, smallHeight/2, "nothing to draw")
		return d.end()
	}
	most := 1
	for _, bar := range b.Bars {
		most = max(most, bar.Count)
	}
	y := linear(0, float64(most), 4, true)
	y.from, y.to = smallBase, smallTop
	x := b.axis()
	drawSmallFrame(d, x, y, b.X)
	b.draw(d, y)
	if b.MarkLabel != "" && b.Mark >= x.low && b.Mark <= x.high {
		d.line("chance", x.of(b.Mark), smallTop, x.of(b.Mark), smallBase)
		d.text("tick", "end", smallRight, smallTop-6, b.MarkLabel)
	}
	return d.end()
}

// axis is the horizontal one; that of named bars has no ticks.
func (b Bars) axis() scale {
	x := scale{low: 0, high: float64(len(b.Bars))}
	if b.Bars[0].Name == "" {
		x = linear(b.Bars[0].From, b.Bars[len(b.Bars)-1].To, 6, false)
	}
	x.from, x.to = smallLeft, smallRight
	return x
}

func (b Bars) draw(d *drawing, y scale) {
	width := (smallRight - smallLeft) / float64(len(b.Bars))
	const maxNames = 8 // of so many the names have room
	every := (len(b.Bars) + maxNames - 1) / maxNames
	for i, bar := range b.Bars {
		left := smallLeft + width*float64(i)
		if bar.Count > 0 {
			top := min(y.of(float64(bar.Count)), smallBase-1) // the least is seen
			d.add(`<rect class="bar f0" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
				coord(left+min(1, width/8)), coord(top), coord(width-min(2, width/4)), coord(smallBase-top), plain.XML(bar.words()))
		}
		if bar.Name != "" && i%every == 0 {
			d.text("tick", "middle", left+width/2, smallBase+17, shortened(bar.Name, 14))
		}
	}
}

// words say what a bar shows.
func (b Bar) words() string {
	if b.Name != "" {
		return fmt.Sprintf("%s: %d", b.Name, b.Count)
	}
	return fmt.Sprintf("%.4g to %.4g: %d", b.From, b.To, b.Count)
}

// describe is the chart in words: what there is, and where most is.
func (b Bars) describe() string {
	total, most := 0, Bar{}
	for _, bar := range b.Bars {
		total += bar.Count
		if bar.Count > most.Count {
			most = bar
		}
	}
	words := fmt.Sprintf("%d in all", total)
	if most.Count > 0 {
		words += "; most in " + most.words()
	}
	if b.MarkLabel != "" {
		words += "; " + b.MarkLabel
	}
	return words
}
