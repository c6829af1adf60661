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

// farAxis is the logarithmic axis of false accept rates: so many decades, up to 1.
type farAxis struct{ decades int }

// minDecades are drawn even where there are too few comparisons for them, so that most
// charts have the same scale.
const minDecades = 4

// chooseFARAxis takes the longest axis of whole decades in which every rate can be
// measured with so many different-person trials: one false accept is the least rate.
func chooseFARAxis(different int) farAxis {
	a := farAxis{minDecades}
	for n := different / 100_000; n > 0; n /= 10 {
		a.decades++
	}
	return a
}

// xOf is where a false accept rate is; what is below the axis's beginning, zero too, is
// put there.
func (a farAxis) xOf(far float64) float64 {
	decades := float64(a.decades)
	exponent := math.Log10(max(far, math.Pow10(-a.decades)))
	return frameRight + exponent/decades*(frameRight-frameLeft)
}

// farOf is the inverse of xOf.
func (a farAxis) farOf(x float64) float64 {
	return math.Pow(10, (x-frameRight)/(frameRight-frameLeft)*float64(a.decades))
}

// draw draws grid, ticks and titles.
func (a farAxis) draw(d *drawing) {
	for exponent := -a.decades; exponent <= 0; exponent++ {
		decade := math.Pow10(exponent)
		label := "1"
		if exponent < 0 {
			label = fmt.Sprintf("1e%d", exponent)
			for digit := 2.0; digit <= 9; digit++ {
				d.line("fine", a.xOf(digit*decade), frameTop, a.xOf(digit*decade), frameBase)
			}
		}
		d.line("grid", a.xOf(decade), frameTop, a.xOf(decade), frameBase)
		d.text("tick", "middle", a.xOf(decade), frameBase+20, label)
	}
	d.text("axis", "middle", (frameLeft+frameRight)/2, frameBase+44, "false accept rate (FAR)")
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
