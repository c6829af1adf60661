package plot

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"facepipe/internal/plain"
)

// drawing is an SVG document on its way.
type drawing struct{ bytes.Buffer }

// add appends one line of markup. Arguments that are text must be escaped by [plain.XML].
func (d *drawing) add(format string, args ...any) {
	fmt.Fprintf(d, format+"\n", args...)
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	d.add(`<line class="%s" x1="%s" y1="%s" x2="%s" y2="%s"/>`, class, coord(x1), coord(y1), coord(x2), coord(y2))
}

// text places text with its anchor (start, middle, end) and baseline at x, y.
func (d *drawing) text(class, anchor string, x, y float64, text string) {
	d.add(`<text class="%s" text-anchor="%s" x="%s" y="%s">%s</text>`, class, anchor, coord(x), coord(y), plain.XML(text))
}

// upright places text that reads upwards, its middle at x, y.
func (d *drawing) upright(class string, x, y float64, text string) {
	d.add(`<text class="%s" text-anchor="middle" transform="translate(%s %s) rotate(-90)">%s</text>`, class, coord(x), coord(y), plain.XML(text))
}

// rect draws a rectangle between two corners.
func (d *drawing) rect(class string, left, top, right, bottom float64) {
	d.add(`<rect class="%s" x="%s" y="%s" width="%s" height="%s"/>`, class, coord(left), coord(top), coord(right-left), coord(bottom-top))
}

// tenths rounds a coordinate to tenths of a pixel, which is as fine as a screen shows.
func tenths(v float64) int { return int(math.Round(10 * v)) }

// coord writes a coordinate in tenths of a pixel.
func coord(v float64) string { return strconv.FormatFloat(float64(tenths(v))/10, 'f', -1, 64) }

// shortened keeps the end of a text, where paths differ, within n characters.
func shortened(text string, n int) string {
	runes := []rune(text)
	if len(runes) <= n {
		return text
	}
	return "…" + string(runes[len(runes)-n+1:])
}
