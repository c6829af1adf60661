package imgcodec

import (
	"bytes"
	"fmt"
	"image"
	"image/jpeg"
)

// EncodeJPEG encodes img, of at least one pixel, as a baseline JPEG with chroma at half the
// resolution. It uses the standard library's encoder, so that the same pixels give the same
// bytes whatever decoder is in use. quality is 1..100.
func EncodeJPEG(img *Image, quality int) []byte {
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, rgba(img), &jpeg.Options{Quality: quality}); err != nil {
		// A buffer accepts every byte. Only an image beyond the format's size fails.
		panic(fmt.Sprintf("imgcodec: encode jpeg: %v", err))
	}
	return buf.Bytes()
}

// rgba copies img into the layout for which the JPEG encoder has a fast path.
func rgba(img *Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, img.W, img.H))
	for i, j := 0, 0; i < len(img.Pix); i, j = i+3, j+4 {
		copy(out.Pix[j:j+3], img.Pix[i:i+3])
		out.Pix[j+3] = 0xff
	}
	return out
}
