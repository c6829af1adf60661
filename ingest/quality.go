package ingest

import (
	"math"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// measure takes the measures of a crop's pixels and, where the face was found in a
// photograph, of its landmarks there; nil leaves those unknown.
//
// All are rounded to hundredths, far below what they are worth: processors that fuse
// multiplications and additions differ in the last bits of a float, and a dataset must
// not depend on where it was made.
func measure(crop *imgcodec.Image, face *align.Landmarks) store.Quality {
	unknown := float32(math.NaN())
	q := store.Quality{FaceSize: unknown, Sharpness: hundredths(sharpness(crop)), Yaw: unknown, Pitch: unknown, Roll: unknown}
	if face == nil {
		return q
	}
	if m, err := align.Estimate(*face, align.Template(crop.W)); err == nil {
		q.FaceSize = hundredths(float64(crop.W) / m.Scale())
	}
	p := align.EstimatePose(*face)
	q.Yaw, q.Pitch, q.Roll = hundredths(p.Yaw), hundredths(p.Pitch), hundredths(p.Roll)
	return q
}

func hundredths(v float64) float32 { return float32(math.Round(100*v) / 100) }

// sharpness is the variance of the Laplacian of the luma, 0..255 (Rec. 601), over all
// pixels that have four neighbours: Pech-Pacheco et al., "Diatom autofocusing in
// brightfield microscopy", 2000. The kernel is that of OpenCV's Laplacian of aperture 1.
// Integers keep it the same on every processor; 0 for an image without such pixels.
func sharpness(img *imgcodec.Image) float64 {
	const unit = 1000 // of luma
	luma := make([]int32, img.W*img.H)
	for i := range luma {
		p := img.Pix[3*i : 3*i+3 : 3*i+3]
		luma[i] = 299*int32(p[0]) + 587*int32(p[1]) + 114*int32(p[2])
	}
	var n, sum int64
	var squares float64
	for y := 1; y < img.H-1; y++ {
		above, row, below := luma[(y-1)*img.W:][:img.W], luma[y*img.W:][:img.W], luma[(y+1)*img.W:][:img.W]
		var rowSquares int64 // of at most 1e12 each: exact, and far from the limit
		for x := 1; x < img.W-1; x++ {
			l := int64(above[x] + below[x] + row[x-1] + row[x+1] - 4*row[x])
			sum += l
			rowSquares += l * l
			n++
		}
		squares += float64(rowSquares)
	}
	if n == 0 {
		return 0
	}
	mean := float64(sum) / float64(n)
	return (squares/float64(n) - float64(mean*mean)) / (unit * unit)
}
