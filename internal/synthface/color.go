package synthface

import (
	"math"
	"sync"
)

// Color is an opaque colour in sRGB.
type Color struct{ R, G, B uint8 }

// lerp is the colour at t (0..1) between c and d.
func (c Color) lerp(d Color, t float64) Color {
	part := func(a, b uint8) uint8 {
		return clampByte(math.Round(float64(a) + float64((float64(b)-float64(a))*t)))
	}
	return Color{part(c.R, d.R), part(c.G, d.G), part(c.B, d.B)}
}

// shift adds to the channels, saturating.
func (c Color) shift(r, g, b float64) Color {
	return Color{
		clampByte(math.Round(float64(c.R) + r)),
		clampByte(math.Round(float64(c.G) + g)),
		clampByte(math.Round(float64(c.B) + b)),
	}
}

// ramp is the colour at t (0..1) along equally spaced stops.
func ramp(stops []Color, t float64) Color {
	at := t * float64(len(stops)-1)
	k := min(max(int(at), 0), len(stops)-2)
	return stops[k].lerp(stops[k+1], at-float64(k))
}

func clampByte(v float64) uint8 { return uint8(min(max(v, 0), 255)) }

// full is the linear light of white. Linear values have 16 bits.
const full = 1<<16 - 1

// linear is the colour in linear light, 0..full a channel.
func (c Color) linear() [3]int32 {
	t := decodeTable()
	return [3]int32{t[c.R], t[c.G], t[c.B]}
}

// decodeTable maps an sRGB byte to linear light (IEC 61966-2-1).
var decodeTable = sync.OnceValue(func() *[256]int32 {
	var t [256]int32
	for i := range t {
		v := float64(i) / 255
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		t[i] = int32(math.Round(v * full))
	}
	return &t
})

// encodeTable maps the upper 12 bits of linear light to sRGB in 1/16 of a byte's
// step, the precision in which the camera works until its last rounding.
var encodeTable = sync.OnceValue(func() *[4096]int32 {
	var t [4096]int32
	for i := range t {
		v := (float64(i) + 0.5) / 4096
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		t[i] = int32(math.Round(v * 255 * 16))
	}
	return &t
})
