package plot

import (
	"fmt"
	"strings"

	"facepipe/internal/plain"
)

// palette are the colours of a chart for a light or a dark background.
type palette struct {
	paper, ink, quiet, grid, fine, frame, blind string
	// curves stay apart for colour-blind readers; dashes tell further curves apart.
	curves []string
}

var (
	// The curves are after Okabe and Ito, "Color Universal Design", 2008.
	light = palette{"#ffffff", "#1f2933", "#52606d", "#d9dee4", "#eff2f5", "#9aa5b1", "#f5f6f8",
		[]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"}}
	// The same hues, brighter.
	dark = palette{"#14181d", "#e6e9ed", "#a7b1bd", "#353e48", "#20262d", "#66717e", "#1c2229",
		[]string{"#3d9fe0", "#ff8a4c", "#2cc79a", "#e89cc6", "#f2bb45", "#a5dcff", "#b8bec6"}}
	dashes = []string{"", "7 4", "2 3", "10 3 2 3"}
)

const shapes = `.plot text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif }
.plot .title { font-size: 20px; font-weight: 600 }
.plot .subtitle { font-size: 13px }
.plot .tick, .plot .remark { font-size: 12px }
.plot .axis, .plot .label, .plot .note { font-size: 13px }
.plot .grid, .plot .fine { stroke-width: 1 }
.plot .frame { fill: none; stroke-width: 1 }
.plot .chance { fill: none; stroke-width: 1.2; stroke-dasharray: 3 4 }
.plot .curve { fill: none; stroke-width: 2.2; stroke-linejoin: round; stroke-linecap: round }
.plot .band { stroke: none; fill-opacity: 0.16 }
.plot .area { fill-opacity: 0.3; stroke-width: 1.6; stroke-linejoin: round }`

// rules are the palette as CSS. All begin with the class of the whole picture, so that a page
// that holds pictures keeps its own look.
func (p palette) rules() string {
	lines := []string{
		".plot .paper { fill: " + p.paper + " }",
		".plot text { fill: " + p.ink + " }",
		".plot .subtitle, .plot .tick, .plot .remark, .plot .note { fill: " + p.quiet + " }",
		".plot .grid { stroke: " + p.grid + " }",
		".plot .fine { stroke: " + p.fine + " }",
		".plot .frame, .plot .chance { stroke: " + p.frame + " }",
		".plot .blind { fill: " + p.blind + " }",
	}
	for i, colour := range p.curves {
		lines = append(lines, fmt.Sprintf(".plot .c%d { stroke: %s } .plot .f%d { fill: %s }", i, colour, i, colour))
	}
	return strings.Join(lines, "\n")
}

// style is for light backgrounds, and for dark ones where a screen asks for it. Programs that
// do not know the question draw light pictures.
func style() string {
	return shapes + "\n" + light.rules() + "\n@media screen and (prefers-color-scheme: dark) {\n" + dark.rules() + "\n}"
}

// begin starts a picture with its title and subtitle. description is the picture in words, for
// those who do not see it.
func begin(title, subtitle, description string, height float64) *drawing {
	d := &drawing{}
	d.add(`<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 %s %s" width="%s" height="%s" role="img">`,
		coord(width), coord(height), coord(width), coord(height))
	d.add("<title>%s</title>", plain.XML(title))
	d.add("<desc>%s</desc>", plain.XML(description))
	d.add("<style>\n%s\n</style>", style())
	d.add(`<rect class="paper" width="%s" height="%s"/>`, coord(width), coord(height))
	d.text("title", "start", frameLeft, 38, title)
	d.text("subtitle", "start", frameLeft, 62, subtitle)
	return d
}

// end is the finished picture.
func (d *drawing) end() []byte {
	d.add("</svg>")
	return d.Bytes()
}

// The legend is below the frame, a line a curve.
const (
	legendTop  = frameBase + 80
	legendLine = 24.0
	labelChars = 60
)

// heightWith is the height of a picture with so many curves.
func heightWith(curves int) float64 { return legendTop + legendLine*float64(curves) }

// legend is the line of curve number i.
func (d *drawing) legend(i int, label, note string) {
	y := legendTop + legendLine*float64(i)
	d.add(`<line %s x1="%s" y1="%s" x2="%s" y2="%s"/>`, stroke(i), coord(frameLeft), coord(y-4.5), coord(frameLeft+34), coord(y-4.5))
	d.text("label", "start", frameLeft+46, y, shortened(label, labelChars))
	d.text("note", "end", frameRight, y, note)
}

// clip names the frame, for curves that would run out of it.
func (d *drawing) clip(id string) {
	d.add(`<clipPath id="%s"><rect x="%s" y="%s" width="%s" height="%s"/></clipPath>`,
		id, coord(frameLeft), coord(frameTop-2), coord(frameRight-frameLeft+2), coord(frameBase-frameTop+3))
}

func (d *drawing) frame() { d.rect("frame", frameLeft, frameTop, frameRight, frameBase) }

// curve draws curve number i within the frame of that id.
func (d *drawing) curve(i int, frame, label, path string) {
	d.add(`<path %s clip-path="url(#%s)" d="%s"><title>%s</title></path>`, stroke(i), frame, path, plain.XML(label))
}

// describe is a picture in words: its subtitle, and each curve's note.
func describe(subtitle string, each func(yield func(label, note string))) string {
	lines := []string{subtitle}
	each(func(label, note string) { lines = append(lines, label+": "+note) })
	return strings.Join(lines, "; ")
}

// hue is the number of the colour of curve number i.
func hue(i int) int { return i % len(light.curves) }

// stroke is the look of curve number i.
func stroke(i int) string {
	look := fmt.Sprintf(`class="curve c%d"`, hue(i))
	if dash := dashes[i/len(light.curves)%len(dashes)]; dash != "" {
		look += fmt.Sprintf(` stroke-dasharray="%s"`, dash)
	}
	return look
}
