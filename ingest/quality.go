package ingest

import (
	"math"

	"facepipe/ingest/align"
	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// measure measures a crop's pixels and the face's landmarks in its photograph. Without
// landmarks (nil) their measures are unknown.
//
// All are rounded to hundredths, far below their error. Processors that fuse multiplications
// and additions differ in the last bits, and a dataset must not depend on where it was made.
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
	if img.W < 3 || img.H < 3 {
		return 0
	}
	var rows [3][]int32
	for i := range rows {
		rows[i] = make([]int32, img.W)
	}
	var sum int64
	var squares float64
	for y := range img.H {
		above, row, below := rows[y%3], rows[(y+1)%3], rows[(y+2)%3]
		lumaRow(below, img.Pix[3*y*img.W:])
		if y < 2 {
			continue
		}
		s, q := laplacianRow(above, row, below)
		sum += s
		squares += float64(q) // exact: a row of 112 pixels has less than 2⁴⁷
	}
	n := float64((img.W - 2) * (img.H - 2))
	mean := float64(sum) / n
	return (squares/n - float64(mean*mean)) / (unit * unit)
}

// lumaRow is the luma of a row of RGB pixels, in thousandths.
func lumaRow(luma []int32, rgb []byte) {
	for i := range luma {
		p := rgb[:3]
		luma[i] = 299*int32(p[0]) + 587*int32(p[1]) + 114*int32(p[2])
		rgb = rgb[3:]
	}
}

// laplacianRow sums up the Laplacian of a row's inner pixels, and its squares.
func laplacianRow(above, row, below []int32) (sum, squares int64) {
	above, below = above[:len(row)], below[:len(row)]
	for x := 1; x < len(row)-1; x++ {
		l := int64(above[x] + below[x] + row[x-1] + row[x+1] - 4*row[x])
		sum += l
		squares += l * l
	}
	return sum, squares
}
