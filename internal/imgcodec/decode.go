package imgcodec

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"golang.org/x/image/bmp"
	"golang.org/x/image/webp"
)

// Decode turns the bytes of one JPEG, PNG, WebP, BMP, PGM or PPM image into upright RGB: the format is
// found by content and the EXIF orientation is applied. An image beyond lim is refused before
// memory is allocated. The error wraps one of the package's sentinels. Images that end early
// are refused, too; some decoders would fill them up with grey.
func Decode(data []byte, lim Limits) (*Image, Format, error) {
	h, err := Inspect(data)
	if err != nil {
		return nil, Sniff(data), err
	}
	if err := lim.Check(h); err != nil {
		return nil, h.Format, err
	}
	img := newPicture(h.W, h.H)
	if err := decodeInto(img.Pix, h, data, 1); err != nil {
		return nil, h.Format, err
	}
	return upright(img, h.Orientation), h.Format, nil
}

// DecodeRGB decodes a stored crop of w by h pixels into dst, which must hold
// 3*w*h bytes. Unlike [Decode] it takes the pixels as stored: no EXIF orientation
// is applied. An image of another format or size than announced is refused with
// ErrCorrupt.
func DecodeRGB(f Format, data []byte, w, h int, dst []byte) error {
	if len(dst) != 3*w*h {
		return fmt.Errorf("decode %s crop: destination has %d bytes, want %d", f, len(dst), 3*w*h)
	}
	if f == Raw {
		if len(data) != len(dst) {
			return refusal(ErrCorrupt, f, "crop has %d bytes, want %d", len(data), len(dst))
		}
		copy(dst, data)
		return nil
	}
	header, err := Inspect(data)
	if err != nil {
		return err
	}
	if header.Format != f || header.W != w || header.H != h {
		return refusal(ErrCorrupt, header.Format, "of %dx%d pixels where %s of %dx%d was announced",
			header.W, header.H, f, w, h)
	}
	return decodeInto(dst, header, data, 1)
}

// decodeInto decodes data, whose header is h, to stored-orientation RGB. A reduction
// other than 1 is for decoders that reduce.
func decodeInto(dst []byte, h Header, data []byte, reduction int) error {
	var (
		img image.Image
		err error
		ycc yccModel = color.YCbCrToRGB
	)
	switch h.Format {
	case JPEG:
		return decodeJPEG(dst, h, data, reduction)
	case PNG:
		if decodePlainPNG(dst, h, data) {
			return nil
		}
		img, err = png.Decode(bytes.NewReader(data))
	case WebP:
		img, err = webp.Decode(bytes.NewReader(data))
		ycc = studioToRGB
	case BMP:
		img, err = bmp.Decode(bytes.NewReader(data))
	case PNM:
		return decodePNM(dst, data)
	default:
		return fmt.Errorf("%w: %s is not decoded", ErrUnsupported, h.Format)
	}
	if err != nil {
		return classify(h.Format, err)
	}
	return copyChecked(dst, h, img, ycc)
}

// copyChecked converts a decoded image. Its size must be the one that its header declared, for
// which dst was made.
func copyChecked(dst []byte, h Header, img image.Image, ycc yccModel) error {
	if size := img.Bounds().Size(); size.X != h.W || size.Y != h.H {
		return refusal(ErrCorrupt, h.Format, "declares %dx%d pixels and holds %dx%d", h.W, h.H, size.X, size.Y)
	}
	copyRGB(dst, img, ycc)
	return nil
}
