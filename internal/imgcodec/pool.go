package imgcodec

import "sync"

// pixels are the memory of pictures that were let go. A photograph takes megabytes, and
// asking for them anew every time costs as much as decoding a small one.
var pixels sync.Pool

// newPicture is an image with any pixels, for a decoder that fills it.
func newPicture(w, h int) *Image {
	n := 3 * w * h
	if p, ok := pixels.Get().(*[]byte); ok && cap(*p) >= n {
		return &Image{W: w, H: h, Pix: (*p)[:n]}
	}
	return NewImage(w, h)
}

// Recycle gives the memory of an image that nobody uses any more to later decodings. nil
// is fine.
func Recycle(img *Image) {
	if img == nil {
		return
	}
	pix := img.Pix
	img.Pix = nil
	pixels.Put(&pix)
}
