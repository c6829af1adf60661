package imgcodec

import (
	"bytes"
	"image"
	"image/color"
	"math/rand/v2"
	"testing"
)

// Rare layouts become what the standard library's colour models make of them.
func TestCopyRGBByColourModels(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	bounds := image.Rect(0, 0, 64, 40)
	random := func(pix []byte) {
		for i := range pix {
			pix[i] = byte(rng.Uint32())
		}
		copy(pix, bytes.Repeat([]byte{0}, 16))
		copy(pix[16:], bytes.Repeat([]byte{255}, 16))
	}
	palette := color.Palette{}
	for range 256 {
		palette = append(palette, color.NRGBA{byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32())})
	}
	deep, opaque, grey := image.NewNRGBA64(bounds), image.NewRGBA64(bounds), image.NewGray16(bounds)
	ink, indexed := image.NewCMYK(bounds), image.NewPaletted(bounds, palette)
	for _, pix := range [][]byte{deep.Pix, opaque.Pix, grey.Pix, ink.Pix, indexed.Pix} {
		random(pix)
	}
	for i := 6; i < len(opaque.Pix); i += 8 {
		opaque.Pix[i], opaque.Pix[i+1] = 255, 255
	}
	for _, img := range []image.Image{deep, opaque, grey, ink, indexed} {
		got, want := make([]byte, 3*64*40), make([]byte, 0, 3*64*40)
		copyRGB(got, img, color.YCbCrToRGB)
		for y := range 40 {
			for x := range 64 {
				c := color.NRGBAModel.Convert(img.At(x, y)).(color.NRGBA)
				want = append(want, c.R, c.G, c.B)
			}
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%T: other pixels than by its colour model", img)
		}
	}
}
