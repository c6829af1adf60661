package plot

import (
	"fmt"
	"strconv"
	"strings"
)

// HistogramChart shows how scores of same and of different pairs are spread: a panel a model,
// over the cosines that any model has.
type HistogramChart struct {
	Title, Subtitle string
	Panels          []Histogram
}

// Histogram is the panel of one model.
type Histogram struct {
	// Label and Note are shown above the panel, left and right.
	Label, Note string
	// Same and Different count pairs by their cosine, in equally wide bins from -1 to 1; all
	// panels have as many.
	Same, Different []int
	// Marks are cosines to point at.
	Marks []Mark
}

// Mark is a line across a panel.
type Mark struct {
	At    float64
	Label string
}

const (
	panelHeight = 150.0
	panelGap    = 58.0
	keyLine     = 84.0 // of what the colours mean
	firstPanel  = keyLine + 44
)

// SVG draws the chart.
func (c HistogramChart) SVG() []byte {
	n := float64(len(c.Panels))
	d := begin(c.Title, c.Subtitle, c.describe(), firstPanel+n*panelHeight+(n-1)*panelGap+64)
	d.key(0, frameLeft, "pairs of the same person")
	d.key(1, frameLeft+220, "pairs of different people")
	axis := c.axis()
	for i, panel := range c.Panels {
		panel.draw(d, axis, firstPanel+float64(i)*(panelHeight+panelGap))
	}
	d.text("axis", "middle", (frameLeft+frameRight)/2, firstPanel+n*panelHeight+(n-1)*panelGap+40, "cosine")
	return d.end()
}

func (c HistogramChart) describe() string {
	return describe(c.Subtitle, func(yield func(label, note string)) {
		for _, panel := range c.Panels {
			yield(panel.Label, panel.Note)
		}
	})
}

// area is the look of the areas of a kind: same 0, different 1.
func area(kind int) string {
	look := fmt.Sprintf(`class="area c%d f%d"`, kind, kind)
	if kind == 1 {
		look += ` stroke-dasharray="5 3"`
	}
	return look
}

func (d *drawing) key(kind int, x float64, text string) {
	d.add(`<rect %s x="%s" y="%s" width="26" height="12"/>`, area(kind), coord(x), coord(keyLine-11))
	d.text("label", "start", x+36, keyLine, text)
}

// binAxis is the axis of cosines: the bins from first on, before end, of so many.
type binAxis struct{ first, end, bins int }

// axis holds all bins that any panel has pairs in.
func (c HistogramChart) axis() binAxis {
	a := binAxis{end: 1, bins: 1}
	empty := true
	for _, panel := range c.Panels {
		a.bins = max(a.bins, len(panel.Same))
		for _, counts := range [][]int{panel.Same, panel.Different} {
			for bin, n := range counts {
				if n > 0 && empty {
					a.first, a.end, empty = bin, bin+1, false
				} else if n > 0 {
					a.first, a.end = min(a.first, bin), max(a.end, bin+1)
				}
			}
		}
	}
	return a
}

// x is where a bin begins.
func (a binAxis) x(bin float64) float64 {
	return frameLeft + (bin-float64(a.first))/float64(a.end-a.first)*(frameRight-frameLeft)
}

// at is where a cosine is.
func (a binAxis) at(cosine float64) float64 { return a.x((cosine + 1) / 2 * float64(a.bins)) }

// draw draws a panel below top.
func (h Histogram) draw(d *drawing, a binAxis, top float64) {
	base := top + panelHeight
	d.text("label", "start", frameLeft, top-8, shortened(h.Label, labelChars))
	d.text("note", "end", frameRight, top-8, h.Note)
	for tick := -10; tick <= 10; tick++ {
		if x := a.at(float64(tick) / 10); x >= frameLeft-0.05 && x <= frameRight+0.05 {
			d.line("grid", x, top, x, base)
			d.text("tick", "middle", x, base+18, strconv.FormatFloat(float64(tick)/10, 'f', 1, 64))
		}
	}
	d.upright("axis", 44, (top+base)/2, "share of pairs")
	highest := max(largestShare(h.Same), largestShare(h.Different))
	d.text("tick", "end", frameLeft-6, top+9, fmt.Sprintf("%.0f %%", 100*highest))
	d.text("tick", "end", frameLeft-6, base, "0")
	for kind, counts := range [][]int{h.Same, h.Different} {
		if path := steps(counts, a, base, highest); path != "" {
			d.add(`<path %s d="%s"/>`, area(kind), path)
		}
	}
	for _, m := range h.Marks {
		d.mark(m, a.at(m.At), top, base)
	}
	d.rect("frame", frameLeft, top, frameRight, base)
}

// mark draws a line with its label, on the side where there is room.
func (d *drawing) mark(m Mark, x, top, base float64) {
	if x < frameLeft || x > frameRight {
		return
	}
	d.line("chance", x, top, x, base)
	anchor, off := "start", 5.0
	if x > (frameLeft+frameRight)/2 {
		anchor, off = "end", -5.0
	}
	d.text("remark", anchor, x+off, top+14, m.Label)
}

func total(counts []int) int {
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return sum
}

// largestShare is the share of the fullest bin, 0 of nothing.
func largestShare(counts []int) float64 {
	most := 0
	for _, n := range counts {
		most = max(most, n)
	}
	return float64(most) / float64(max(total(counts), 1))
}

// steps is the outline of the bins, "" of nothing.
func steps(counts []int, a binAxis, base, highest float64) string {
	all := total(counts)
	if all == 0 {
		return ""
	}
	var path strings.Builder
	fmt.Fprintf(&path, "M%s %s", coord(frameLeft), coord(base))
	last := coord(base)
	for bin := a.first; bin < a.end; bin++ {
		y := coord(base - float64(counts[bin])/float64(all)/highest*(panelHeight-4))
		if y != last {
			fmt.Fprintf(&path, "H%sV%s", coord(a.x(float64(bin))), y)
		}
		last = y
	}
	fmt.Fprintf(&path, "H%sV%sZ", coord(frameRight), coord(base))
	return path.String()
}
