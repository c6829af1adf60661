package imgcodec

import "sync"

// pixels are the memory of pictures that were let go. A photograph takes megabytes, and
// asking for them anew every time costs as much as decoding a small one.
var pixels sync.Pool

const (
	pooledSlack = 2
	pooledLeast = 1 << 20
	// pooledMost is the largest memory that is kept: what is larger is seldom, and dear.
	pooledMost = 32 << 20
)

// newPicture is an image with any pixels, for a decoder that fills it.
func newPicture(w, h int) *Image {
	n := 3 * w * h
	// A small picture in a large one's memory would keep more than is accounted for.
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
