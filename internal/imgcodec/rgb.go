package imgcodec

import (
	"image"
	"image/color"
	"math"
)

// yccModel converts one luma and two colour difference samples to RGB.
type yccModel func(y, cb, cr uint8) (r, g, b uint8)

// copyRGB converts a decoded image to interleaved RGB in dst, of 3 bytes a pixel. Alpha is
// dropped, not blended with a background: other decoders, too, give the stored colour to a
// face model. ycc is the meaning of YCbCr samples, which the image type does not tell.
func copyRGB(dst []byte, img image.Image, ycc yccModel) {
	switch m := img.(type) {
	case *image.YCbCr:
		copyYCbCr(dst, m, ycc)
	case *image.NYCbCrA:
		copyYCbCr(dst, &m.YCbCr, ycc)
	case *image.Gray:
		copyGray(dst, m)
	case *image.NRGBA:
		copyFourByte(dst, m.Pix, m.Stride, m.Rect)
	case *image.RGBA:
		// Decoders return this type only for opaque images, so that there is no
		// premultiplication to undo.
		copyFourByte(dst, m.Pix, m.Stride, m.Rect)
	case *image.Paletted:
		copyPalette(dst, m)
	case image.RGBA64Image: // all others of the standard library
		copyAny(dst, m)
	}
}

func copyYCbCr(dst []byte, m *image.YCbCr, ycc yccModel) {
	b := m.Rect
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := m.COffset(x, y)
			dst[i], dst[i+1], dst[i+2] = ycc(m.Y[m.YOffset(x, y)], m.Cb[c], m.Cr[c])
			i += 3
		}
	}
}

func copyGray(dst []byte, m *image.Gray) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	i := 0
	for y := range h {
		for _, v := range m.Pix[y*m.Stride : y*m.Stride+w] {
			dst[i], dst[i+1], dst[i+2] = v, v, v
			i += 3
		}
	}
}

// copyFourByte drops every fourth byte.
func copyFourByte(dst, pix []byte, stride int, bounds image.Rectangle) {
	w, h := bounds.Dx(), bounds.Dy()
	i := 0
	for y := range h {
		row := pix[y*stride : y*stride+4*w]
		for ; len(row) >= 4; row = row[4:] {
			copy(dst[i:i+3], row[:3])
			i += 3
		}
	}
}

// copyPalette converts the colours of the palette once.
func copyPalette(dst []byte, m *image.Paletted) {
	var colours [256][3]byte // black where the palette is too short
	for i, c := range m.Palette {
		n := color.NRGBAModel.Convert(c).(color.NRGBA)
		colours[i] = [3]byte{n.R, n.G, n.B}
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	i := 0
	for y := range h {
		for _, at := range m.Pix[y*m.Stride:][:w] {
			copy(dst[i:i+3], colours[at][:])
			i += 3
		}
	}
}

// copyAny converts by the colour models. It is for rare layouts: 16 bits a sample (the upper byte
// is kept), CMYK.
func copyAny(dst []byte, img image.RGBA64Image) {
	b := img.Bounds()
	i := 0
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			c := img.RGBA64At(x, y)
			dst[i], dst[i+1], dst[i+2] = without(c.R, c.A), without(c.G, c.A), without(c.B, c.A)
			i += 3
		}
	}
}

// without is a sample of 16 bits, multiplied by its opacity, as 8 bits without it, as
// [color.NRGBAModel] computes it.
func without(v, opacity uint16) byte {
	switch opacity {
	case 0:
		return 0
	case math.MaxUint16:
		return byte(v >> 8)
	}
	return byte(uint32(v) * math.MaxUint16 / uint32(opacity) >> 8)
}
