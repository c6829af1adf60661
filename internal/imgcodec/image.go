package imgcodec

// Image is 8-bit RGB, interleaved, rows from the top, without padding: the pixel
// in column x and row y is Pix[3*(y*W+x):][:3], red first.
type Image struct {
	W, H int
	Pix  []byte
}

// NewImage allocates a black image of w by h pixels.
func NewImage(w, h int) *Image {
	return &Image{W: w, H: h, Pix: make([]byte, 3*w*h)}
}

// transposed is the first of the EXIF orientations that swap columns and rows.
const transposed = 5

// upright undoes an EXIF orientation (Exif 2.3, tag 0x0112: which side of the
// scene row 0 and column 0 of the stored image show). It returns img itself where
// nothing is to be done.
func upright(img *Image, orientation int) *Image {
	w, h := img.W, img.H
	// origin is the stored offset of the upright image's first pixel; right and
	// down are the stored steps of one upright column and row.
	var origin, right, down int
	last := w*h - 1
	switch orientation {
	case 2: // mirrored left to right
		origin, right, down = w-1, -1, w
	case 3: // upside down
		origin, right, down = last, -1, -w
	case 4: // mirrored top to bottom
		origin, right, down = last-(w-1), 1, -w
	case 5: // transposed
		origin, right, down = 0, w, 1
	case 6: // stored a quarter turn counter-clockwise
		origin, right, down = last-(w-1), -w, 1
	case 7: // transposed over the other diagonal
		origin, right, down = last, -w, -1
	case 8: // stored a quarter turn clockwise
		origin, right, down = w-1, w, -1
	default:
		return img
	}
	if orientation >= transposed {
		w, h = h, w
	}
	out := NewImage(w, h)
	i := 0
	for y := range h {
		at := origin + y*down
		for range w {
			copy(out.Pix[i:i+3], img.Pix[3*at:3*at+3])
			i += 3
			at += right
		}
	}
	return out
}

// firstBlock says by how many pixels the first column and the first row of blocks reach beyond
// an upright image. In the stored orientation the last ones do so, by beyondX and beyondY.
func firstBlock(orientation, beyondX, beyondY int) (left, top int) {
	switch orientation {
	case 2:
		return beyondX, 0
	case 3:
		return beyondX, beyondY
	case 4:
		return 0, beyondY
	case 6:
		return beyondY, 0
	case 7:
		return beyondY, beyondX
	case 8:
		return 0, beyondX
	}
	return 0, 0
}
