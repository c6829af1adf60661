package export

import (
	"fmt"

	"facepipe/internal/imgcodec"
	"facepipe/store"
)

// imageFile is a crop's image as a file would hold it, and its format: the stored bytes,
// or a PNG of raw pixels.
func imageFile(c *store.Crop, size int) ([]byte, imgcodec.Format, error) {
	if c.Encoding != imgcodec.Raw {
		return c.Image, c.Encoding, nil
	}
	if len(c.Image) != 3*size*size {
		return nil, "", fmt.Errorf("crop %q: %w: %d bytes of raw pixels, want %d", c.Key, store.ErrDamaged, len(c.Image), 3*size*size)
	}
	return imgcodec.EncodePNG(&imgcodec.Image{W: size, H: size, Pix: c.Image}), imgcodec.PNG, nil
}

// endings are the endings of file names by format, the usual one first.
func endings(f imgcodec.Format) []string {
	if f == imgcodec.JPEG {
		return []string{".jpg", ".jpeg"}
	}
	return []string{"." + string(f)}
}
