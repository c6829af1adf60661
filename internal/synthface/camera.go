package synthface

import "math"

// develop turns surfaces and light into the bytes of a picture (RGB, interleaved):
// exposure, tone, blur, noise. ambient is the light on the surroundings; scale is
// the size of head space's unit in pixels, since blur belongs to the face's scale.
func (c *camera) develop(cv *canvas, light []glow, ambient, scale float64) []byte {
	c.expose(cv, light, ambient)
	blurAcross(cv.tones, cv.w, kernel(c.blurX*scale))
	blurDown(cv.tones, cv.w, kernel(c.blurY*scale))
	return c.read(cv.tones)
}

// middleTone is the tone that contrast leaves alone.
const middleTone = 118 * 16

// expose multiplies surfaces by light and applies the tone curve. The canvas's
// tones are sRGB in 1/16 of a byte's step.
func (c *camera) expose(cv *canvas, light []glow, ambient float64) {
	encode := encodeTable()
	var scene [3]int32
	for k, gain := range c.gain {
		scene[k] = int32(math.Round(gain * ambient * glowOne))
	}
	saturation, contrast := int32(math.Round(c.saturation*256)), int32(math.Round(c.contrast*256))
	row := make([]glow, glowNodes(cv.w)*glowStep)
	for y := range cv.h {
		glowRow(light, y, row)
		for x := range cv.w {
			at := y*cv.w + x
			g := &row[x]
			m := int32(cv.person[at])
			albedo, tones := cv.albedo[3*at:3*at+3:3*at+3], cv.tones[3*at:3*at+3:3*at+3]
			gloss := g.gloss * m >> opaqueBits
			var v [3]int32
			for k := range v {
				factor := (g.factor[k]*m + scene[k]*(opaque-m)) >> opaqueBits
				linear := uint64(albedo[k])*uint64(factor)/glowOne + uint64(gloss)
				v[k] = encode[min(linear, full)>>4&4095]
			}
			grey := (77*v[0] + 150*v[1] + 29*v[2]) >> 8
			for k := range v {
				tone := grey + (v[k]-grey)*saturation>>8
				tones[k] = middleTone + (tone-middleTone)*contrast>>8
			}
		}
	}
}

// glowRow interpolates the grid of light to the pixels of row y.
func glowRow(light []glow, y int, row []glow) {
	cols := len(row) / glowStep
	above := light[y/glowStep*cols:][:cols]
	below := above
	if y%glowStep != 0 {
		below = light[(y/glowStep+1)*cols:][:cols]
	}
	for j := range cols {
		row[2*j] = above[j].mean(&below[j])
		if j > 0 {
			row[2*j-1] = row[2*j-2].mean(&row[2*j])
		}
	}
}

func (g *glow) mean(o *glow) glow {
	var m glow
	for k := range m.factor {
		m.factor[k] = (g.factor[k] + o.factor[k]) >> 1
	}
	m.gloss = (g.gloss + o.gloss) >> 1
	return m
}

// kernelOne is the sum of a kernel's weights, its centre once and the others
// twice.
const (
	kernelBits = 12
	kernelOne  = 1 << kernelBits
)

// kernel is one half of a Gaussian, from the centre outwards.
func kernel(sigma float64) []int32 {
	radius := int(math.Ceil(2.5 * sigma))
	weights := make([]float64, radius+1)
	var sum float64
	for k := range weights {
		weights[k] = math.Exp(-float64(k*k) / (2*sigma*sigma + 1e-9))
		sum += 2 * weights[k]
	}
	sum -= weights[0]
	half := make([]int32, radius+1)
	half[0] = kernelOne
	for k := 1; k <= radius; k++ {
		half[k] = int32(math.Round(weights[k] / sum * kernelOne))
		half[0] -= 2 * half[k]
	}
	return half
}

// blurAcross filters the rows of an interleaved picture of width w; the ends
// repeat.
func blurAcross(v []int32, w int, half []int32) {
	radius := len(half) - 1
	line := make([]int32, 3*(w+2*radius))
	for ; len(v) > 0; v = v[3*w:] {
		row := v[:3*w]
		copy(line[3*radius:], row)
		for k := range radius {
			copy(line[3*k:], row[:3])
			copy(line[3*(radius+w+k):], row[3*w-3:])
		}
		for d, weight := range half {
			accumulate(row, line[3*(radius-d):], line[3*(radius+d):], weight, d)
		}
		scaleBack(row)
	}
}

// blurDown filters the columns of an interleaved picture of width w.
func blurDown(v []int32, w int, half []int32) {
	src := append([]int32(nil), v...)
	last := len(v)/(3*w) - 1
	for y := range last + 1 {
		row := v[3*w*y:][:3*w]
		for d, weight := range half {
			accumulate(row, src[3*w*max(y-d, 0):], src[3*w*min(y+d, last):], weight, d)
		}
		scaleBack(row)
	}
}

// accumulate adds to sum what lies d to both sides of it, or starts it for d = 0.
func accumulate(sum, before, after []int32, weight int32, d int) {
	before, after = before[:len(sum)], after[:len(sum)]
	if d == 0 {
		for i, v := range before {
			sum[i] = v * weight
		}
		return
	}
	for i := range sum {
		sum[i] += (before[i] + after[i]) * weight
	}
}

func scaleBack(sum []int32) {
	for i, v := range sum {
		sum[i] = v >> kernelBits
	}
}

// read adds the sensor's noise and rounds tones to bytes.
func (c *camera) read(tones []int32) []byte {
	const spread = 0.408 // standard deviation of a sum of two uniforms over -1..1
	amplitude := int32(math.Round(c.noise * 16 / spread))
	noise := stream{state: c.noiseSeed}
	pix := make([]byte, len(tones))
	for i := 0; i+2 < len(tones); i += 3 {
		bits := noise.next()
		for k := range 3 {
			n := int32(bits&1023) + int32(bits>>10&1023) - 1023
			bits >>= 20
			v := (tones[i+k] + n*amplitude>>10 + 8) >> 4
			pix[i+k] = byte(min(max(v, 0), 255))
		}
	}
	return pix
}
