package embed

// filler writes crops into a model's input tensor: every source byte has its place
// and goes through a table of 256 results for its channel.
type filler struct {
	size   int // of one crop in values
	area   int // of one crop in pixels
	width  int
	planar bool
	table  [3][256]float32 // by channel of the source
	place  [3]int          // of a source channel in the target
}

func newFiller(p Preprocess) *filler {
	f := &filler{area: p.Width * p.Height, size: 3 * p.Width * p.Height, planar: p.Layout == "NCHW", width: p.Width}
	for c := range 3 {
		f.place[c] = c
		if p.ChannelOrder == "BGR" {
			f.place[c] = 2 - c
		}
		for v := range 256 {
			f.table[c][v] = (float32(v) - p.Mean[f.place[c]]) / p.Std[f.place[c]]
		}
	}
	return f
}

// fill normalises one RGB crop into dst, mirrored left to right if flip.
func (f *filler) fill(dst []float32, rgb []byte, flip bool) {
	stride, plane := 3, 1
	if f.planar {
		stride, plane = 1, f.area
	}
	r, g, b := dst[f.place[0]*plane:], dst[f.place[1]*plane:], dst[f.place[2]*plane:]
	for row := 0; row < f.area; row += f.width {
		from, step := row, 1
		if flip {
			from, step = row+f.width-1, -1
		}
		for x := range f.width {
			pixel := rgb[3*from : 3*from+3 : 3*from+3]
			to := (row + x) * stride
			r[to], g[to], b[to] = f.table[0][pixel[0]], f.table[1][pixel[1]], f.table[2][pixel[2]]
			from += step
		}
	}
}
