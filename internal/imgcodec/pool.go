package imgcodec

import "sync"

// pixels is the memory of pictures that are no longer used. A photograph takes megabytes, and
// to allocate them every time costs as much as to decode a small one.
var pixels sync.Pool

const (
	pooledSlack = 2
	pooledLeast = 1 << 20
	// pooledMost is the largest memory that is kept. Larger pictures are rare.
	pooledMost = 32 << 20
)

// newPicture is an image with any pixels, for a decoder that fills it.
func newPicture(w, h int) *Image {
	n := 3 * w * h
	// A small picture must not take a large one's memory, which nobody has accounted for.
	if p, ok := pixels.Get().(*[]byte); ok && cap(*p) >= n && cap(*p) <= max(pooledSlack*n, pooledLeast) {
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
	if cap(pix) <= pooledMost {
		pixels.Put(&pix)
	}
}
