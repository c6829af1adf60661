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

// logAxis is a logarithmic axis of rates: so many decades, up to 1. It runs from the pixel of
// the least rate to that of 1.
type logAxis struct {
	decades  int
	from, to float64
}

func horizontal(decades int) logAxis { return logAxis{decades, frameLeft, frameRight} }

func vertical(decades int) logAxis { return logAxis{decades, frameBase, frameTop} }

// minDecades are drawn of a ROC even where there are too few comparisons for them, so that
// most charts have the same scale.
const minDecades = 4

// chooseFARAxis takes the longest axis of whole decades in which every rate can be
// measured with so many different-person trials: one false accept is the least rate.
func chooseFARAxis(different int) logAxis {
	decades := minDecades
	for n := different / 100_000; n > 0; n /= 10 {
		decades++
	}
	return horizontal(decades)
}

// decadesDownTo is how many decades hold one error in n comparisons, 2 at least.
func decadesDownTo(n int) int {
	decades := 2
	for least := 100; least < n && decades < 18; least *= 10 {
		decades++
	}
	return decades
}

// at is where a rate is; what is below the axis's beginning, zero too, is put there.
func (a logAxis) at(rate float64) float64 {
	exponent := math.Log10(max(rate, math.Pow10(-a.decades)))
	return a.to + exponent/float64(a.decades)*(a.to-a.from)
}

// rate is the inverse of at.
func (a logAxis) rate(place float64) float64 {
	return math.Pow(10, (place-a.to)/(a.to-a.from)*float64(a.decades))
}

// eachLine calls line for every line of the grid: label is "" for the fine ones between the
// decades.
func (a logAxis) eachLine(line func(class, label string, at float64)) {
	for exponent := -a.decades; exponent <= 0; exponent++ {
		decade := math.Pow10(exponent)
		label := "1"
		if exponent < 0 {
			label = fmt.Sprintf("1e%d", exponent)
			for digit := 2.0; digit <= 9; digit++ {
				line("fine", "", a.at(digit*decade))
			}
		}
		line("grid", label, a.at(decade))
	}
}

// drawBelow draws the grid, ticks and title of a horizontal axis.
func (a logAxis) drawBelow(d *drawing, title string) {
	a.eachLine(func(class, label string, x float64) {
		d.line(class, x, frameTop, x, frameBase)
		if label != "" {
			d.text("tick", "middle", x, frameBase+20, label)
		}
	})
	d.text("axis", "middle", (frameLeft+frameRight)/2, frameBase+44, title)
}

// drawLeft draws those of a vertical axis.
func (a logAxis) drawLeft(d *drawing, title string) {
	a.eachLine(func(class, label string, y float64) {
		d.line(class, frameLeft, y, frameRight, y)
		if label != "" {
			d.text("tick", "end", frameLeft-10, y+4, label)
		}
	})
	d.upright("axis", 24, (frameTop+frameBase)/2, title)
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
	d.upright("axis", 24, (frameTop+frameBase)/2, "true accept rate (TAR)")
}
