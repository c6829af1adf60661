package page

import (
	"html/template"

	"facepipe/internal/imgcodec"
)

// album makes thumbnails for one page, as far as there is room for them.
type album struct{ left int }

// albumBytes are the bytes of all thumbnails of a page, as text.
const albumBytes = 3 << 19

// thumbSide is the largest side of a thumbnail in pixels, and thumbQuality that of its JPEG.
const (
	thumbSide    = 112
	thumbQuality = 78
)

func newAlbum() *album { return &album{albumBytes} }

// thumb is a picture as a small one, "" when the album is full.
func (a *album) thumb(img *imgcodec.Image) template.URL {
	return a.add("image/jpeg", imgcodec.EncodeJPEG(shrunk(img, thumbSide), thumbQuality))
}

func (a *album) add(kind string, data []byte) template.URL {
	url := dataURL(kind, data)
	if len(url) > a.left {
		return ""
	}
	a.left -= len(url)
	return url
}

// shrunk is a picture whose larger side is at most side: every pixel is the mean of those
// that it stands for. A small picture stays as it is.
func shrunk(img *imgcodec.Image, side int) *imgcodec.Image {
	larger := max(img.W, img.H)
	if larger <= side {
		return img
	}
	small := imgcodec.NewImage(max(1, img.W*side/larger), max(1, img.H*side/larger))
	for y := range small.H {
		top, bottom := y*img.H/small.H, (y+1)*img.H/small.H
		for x := range small.W {
			left, right := x*img.W/small.W, (x+1)*img.W/small.W
			mean(img, left, right, top, bottom, small.Pix[3*(y*small.W+x):])
		}
	}
	return small
}

// mean writes the mean colour of a rectangle, which is not empty, to dst.
func mean(img *imgcodec.Image, left, right, top, bottom int, dst []byte) {
	var sum [3]int
	for y := top; y < bottom; y++ {
		for x := left; x < right; x++ {
			for c := range sum {
				sum[c] += int(img.Pix[3*(y*img.W+x)+c])
			}
		}
	}
	for c, s := range sum {
		dst[c] = byte(s / ((right - left) * (bottom - top)))
	}
}

// spread are n numbers below total at even distances, all of them if there are fewer.
func spread(total, n int) []int {
	n = min(n, total)
	list := make([]int, n)
	for i := range list {
		list[i] = (2*i + 1) * total / (2 * n)
	}
	return list
}
