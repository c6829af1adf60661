// Package half converts between float32 and IEEE 754 binary16. arrow's own conversion
// truncates and drops subnormals; here rounding is to the nearest, ties to even, as
// hardware does it.
package half

import "math"

// ToFloat is the value, exactly, of the bits of a binary16.
func ToFloat(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero and subnormals: frac * 2^-24
		f := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	case 0x1f: // infinity, NaN
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+127-15)<<23 | frac<<13)
}

// FromFloat rounds to the nearest binary16, ties to even; beyond the range that
// is an infinity.
func FromFloat(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000: // NaN
		return sign | 0x7e00
	case b >= 0x47800000: // 2^16 and more
		return sign | 0x7c00
	case b < 0x38800000: // below 2^-14: a subnormal, in units of 2^-24
		// Adding 0.5 leaves the bits of f that count in the low bits of the sum,
		// rounded by the adder.
		u := math.Float32bits(math.Float32frombits(b) + 0.5)
		return sign | uint16(u-math.Float32bits(0.5))
	}
	// Rebias the exponent and round away 13 bits; a carry runs into the exponent
	// and from 65504 on into infinity, as it should.
	b -= (127 - 15) << 23
	b += 0xfff + b>>13&1
	return sign | uint16(b>>13)
}
