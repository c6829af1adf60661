package plot

import (
	"fmt"
	"math"
	"strconv"
)

// The frame that curves are drawn in, in pixels of the viewBox.
const (
	width      = 860.0
	frameLeft  = 76.0
	frameRight = width - 28
	frameTop   = 96.0
	frameBase  = 496.0
)

// decades of false accept rates: the axis begins at 1e-4.
const decades = 4

// xOf is where a false accept rate is; what is below the axis's beginning, zero too, is
// put there.
func xOf(far float64) float64 {
	exponent := math.Log10(max(far, math.Pow10(-decades)))
	return frameRight + exponent/decades*(frameRight-frameLeft)
}

// tarAxis is the linear axis of true accept rates, which ends at 1.
type tarAxis struct {
	from, step float64
	digits     int // of a tick's label, after the point
}

// tarAxes are the axes to choose from. Good models differ in their last percent, which
// an axis from 0 would hide.
var tarAxes = []tarAxis{{0.98, 0.005, 3}, {0.95, 0.01, 2}, {0.9, 0.02, 2}, {0.8, 0.05, 2}, {0.5, 0.1, 1}, {0, 0.2, 1}}

// chooseTARAxis takes the finest axis that holds everything from lowest up.
func chooseTARAxis(lowest float64) tarAxis {
	for _, a := range tarAxes {
		if a.from <= lowest {
			return a
		}
	}
	return tarAxes[len(tarAxes)-1]
}

func (a tarAxis) yOf(tar float64) float64 {
	return frameBase - (tar-a.from)/(1-a.from)*(frameBase-frameTop)
}

// draw draws grid, ticks and titles.
func (a tarAxis) draw(d *drawing) {
	for k := 0; k <= int(math.Round((1-a.from)/a.step)); k++ {
		tar := a.from + float64(k)*a.step
		d.line("grid", frameLeft, a.yOf(tar), frameRight, a.yOf(tar))
		d.text("tick", "end", frameLeft-10, a.yOf(tar)+4, strconv.FormatFloat(tar, 'f', a.digits, 64))
	}
	middle := (frameTop + frameBase) / 2
	d.add(`<text class="axis" text-anchor="middle" transform="translate(24 %s) rotate(-90)">true accept rate (TAR)</text>`, coord(middle))
}

// drawFARAxis draws the logarithmic axis of false accept rates.
func drawFARAxis(d *drawing) {
	for exponent := -decades; exponent <= 0; exponent++ {
		decade := math.Pow10(exponent)
		label := "1"
		if exponent < 0 {
			label = fmt.Sprintf("1e%d", exponent)
			for digit := 2.0; digit <= 9; digit++ {
				d.line("fine", xOf(digit*decade), frameTop, xOf(digit*decade), frameBase)
			}
		}
		d.line("grid", xOf(decade), frameTop, xOf(decade), frameBase)
		d.text("tick", "middle", xOf(decade), frameBase+20, label)
	}
	d.text("axis", "middle", (frameLeft+frameRight)/2, frameBase+44, "false accept rate (FAR)")
}

// farOf is the inverse of xOf.
func farOf(x float64) float64 {
	return math.Pow(10, (x-frameRight)/(frameRight-frameLeft)*decades)
}
