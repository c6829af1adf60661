package embed

import (
	"fmt"
)

// resampleRule is the name, in contracts, of what is done to crops of another size than the
// model's: the model's longer side is the whole of the crop, of the shorter one the middle is
// taken; each pixel is the mean of the crop's around its place, weighted by a triangle as wide
// as two pixels of the coarser of the two (bilinear where it enlarges, without aliases where it
// shrinks). Another rule needs another name: it makes other embeddings.
const resampleRule = "triangle"

// resampler changes the size of crops. It works in integers, so that it does the same anywhere.
type resampler struct {
	side          int // of the crop
	columns, rows []taps
}

// taps are the weights of some pixels in a row, from the first one on. They add up to unit.
type taps struct {
	first   int
	weights []int32
}

const (
	unit    = 1 << unitLog // of weights
	unitLog = 14
	midLog  = 7 // of values between the passes
)

// newResampler is nil if crops of a side are what the contract wants.
func newResampler(side int, p Preprocess) *resampler {
	if p.Width == side && p.Height == side {
		return nil
	}
	longer := max(p.Width, p.Height)
	return &resampler{side: side, columns: tapsOf(side, p.Width, longer), rows: tapsOf(side, p.Height, longer)}
}

// tapsOf are those of each of n pixels, the middle ones of as many as make up side pixels of a
// crop.
func tapsOf(side, n, all int) []taps {
	list := make([]taps, n)
	reach := 2 * max(all, side) // lengths are in units of 1/(2·all) of the crop's pixels
	for i := range list {
		t, sum := &list[i], 0
		centre := (2*i + 1 + all - n) * side
		var weights []int
		for k := range side {
			w := reach - distance(centre, (2*k+1)*all)
			switch {
			case w <= 0:
				continue
			case len(weights) == 0:
				t.first = k
			}
			weights = append(weights, w)
			sum += w
		}
		t.weights = make([]int32, len(weights))
		rest, largest := int32(unit), 0
		for k, w := range weights {
			t.weights[k] = int32(w * unit / sum)
			rest -= t.weights[k]
			if w > weights[largest] {
				largest = k
			}
		}
		t.weights[largest] += rest
	}
	return list
}

func distance(a, b int) int { return max(a-b, b-a) }

// resample makes rgb, of the model's size, of a crop. mid has room for what is between the
// passes.
func (r *resampler) resample(rgb, crop []byte, mid []int32) {
	width := len(r.columns)
	for y := range r.side {
		from, to := crop[3*y*r.side:3*(y+1)*r.side], mid[3*y*width:3*(y+1)*width]
		for x, t := range r.columns {
			var sum [3]int32
			for k, w := range t.weights {
				p := from[3*(t.first+k):][:3]
				sum[0] += w * int32(p[0])
				sum[1] += w * int32(p[1])
				sum[2] += w * int32(p[2])
			}
			for c, v := range sum {
				to[3*x+c] = (v + 1<<(unitLog-midLog-1)) >> (unitLog - midLog)
			}
		}
	}
	const log = unitLog + midLog
	for y, t := range r.rows {
		to := rgb[3*y*width : 3*(y+1)*width]
		for x := range to {
			sum := int32(1 << (log - 1))
			for k, w := range t.weights {
				sum += w * mid[3*(t.first+k)*width+x]
			}
			to[x] = byte(sum >> log)
		}
	}
}

// canvas is the memory of one worker for a crop, and for what it is made into.
type canvas struct {
	crop []byte // as it is loaded
	rgb  []byte // of the model's size; the crop itself if that is the same
	mid  []int32
}

func (f *filler) newCanvas() *canvas {
	c := &canvas{crop: make([]byte, f.cropBytes())}
	c.rgb = c.crop
	if f.resampler != nil {
		c.rgb, c.mid = make([]byte, f.size), make([]int32, 3*f.resampler.side*f.width)
	}
	return c
}

// cropBytes is the size of a crop as it is loaded.
func (f *filler) cropBytes() int {
	if f.resampler == nil {
		return f.size
	}
	return 3 * f.resampler.side * f.resampler.side
}

// pixels are those of the crop in the model's size.
func (f *filler) pixels(c *canvas) []byte {
	if f.resampler != nil {
		f.resampler.resample(c.rgb, c.crop, c.mid)
	}
	return c.rgb
}

// resampled is the contract for crops of a side, 0 for those of the model's size. note says what
// that comes to, "" if the size is right. [ErrPreprocess] if the contract was one for others.
func (p Preprocess) resampled(side int, given bool) (as Preprocess, note string, err error) {
	as, as.Resample = p, ""
	if side > 0 && (p.Width != side || p.Height != side) {
		as.Resample, note = resampleRule, p.resampling(side)
	}
	if given && as.Resample != p.Resample {
		return p, "", fmt.Errorf("%w: resampling %q is given, but crops of %dx%[3]d for a model of %dx%d need %q", ErrPreprocess, p.Resample, side, p.Width, p.Height, as.Resample)
	}
	return as, note, nil
}

// resampling says what is done to crops of a side, and what that costs.
func (p Preprocess) resampling(side int) string {
	longer := max(p.Width, p.Height)
	done := fmt.Sprintf("the model takes %dx%d, the crops are %dx%[3]d", p.Width, p.Height, side)
	switch {
	case longer < side:
		done += ": they are shrunk (triangle filter), which costs next to nothing"
	case longer > side:
		done += fmt.Sprintf(": they are enlarged (triangle filter), which adds no detail, so a model that was trained on sharper ones does less well than it could: ingest --crop-size %d makes crops of that size", longer)
	}
	switch {
	case p.Width < p.Height:
		done += fmt.Sprintf("; of their columns the middle %d in %d are taken", p.Width, longer)
	case p.Height < p.Width:
		done += fmt.Sprintf("; of their rows the middle %d in %d are taken", p.Height, longer)
	}
	return done
}
