package detect

import "facepipe/internal/imgcodec"

// shrink resamples src to w by h pixels, neither side longer than before. Every target pixel is
// the mean of the area it covers, so that a large photograph keeps its fine structure. The
// result is src itself if it has that size.
func shrink(src *imgcodec.Image, w, h int) *imgcodec.Image {
	if w == src.W && h == src.H {
		return src
	}
	across, down := areaWeights(src.W, w), areaWeights(src.H, h)
	out := imgcodec.NewImage(w, h)
	sum := make([]float32, 3*w)
	line := make([]float32, 3*w)
	for y, rows := range down {
		clear(sum)
		for i, weight := range rows.weights {
			shrinkRow(line, src.Pix[3*(rows.first+i)*src.W:][:3*src.W], across)
			for j, v := range line {
				sum[j] += float32(weight * v)
			}
		}
		for j, v := range sum {
			out.Pix[3*y*w+j] = byte(v + 0.5)
		}
	}
	return out
}

// span is the run of source pixels that one target pixel covers, with their weights, which sum
// to 1.
type span struct {
	first   int
	weights []float32
}

// areaWeights divides n source pixels evenly among m target pixels.
func areaWeights(n, m int) []span {
	spans := make([]span, m)
	ratio := float64(n) / float64(m)
	for i := range spans {
		from, to := float64(float64(i)*ratio), float64(float64(i+1)*ratio)
		s := span{first: int(from)}
		for p := s.first; p < n && float64(p) < to; p++ {
			covered := min(to, float64(p+1)) - max(from, float64(p))
			s.weights = append(s.weights, float32(covered/ratio))
		}
		spans[i] = s
	}
	return spans
}

func shrinkRow(dst []float32, src []byte, across []span) {
	for x, s := range across {
		var r, g, b float32
		p := src[3*s.first:]
		for i, weight := range s.weights {
			r += float32(weight * float32(p[3*i]))
			g += float32(weight * float32(p[3*i+1]))
			b += float32(weight * float32(p[3*i+2]))
		}
		dst[3*x], dst[3*x+1], dst[3*x+2] = r, g, b
	}
}
