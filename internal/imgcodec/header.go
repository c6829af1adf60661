package imgcodec

import (
	"bytes"
	"fmt"

	"golang.org/x/image/bmp"
)

// Header is what an image declares before its pixels.
type Header struct {
	Format Format
	// W and H are the stored size in pixels, before Orientation is applied.
	W, H int
	// Orientation is the EXIF orientation, 1 (upright) to 8; 1 if none is given.
	Orientation int
	// Components is the number of colour components of a JPEG (1 grey, 3 colour,
	// 4 CMYK), and 0 for other formats.
	Components int

	// pixels is the offset of a JPEG's first scan.
	pixels int
	// adobe marks a JPEG with Adobe's marker, which says how CMYK is stored.
	adobe bool
	// progressive marks a JPEG whose components come in several scans. Decoders collect these
	// at full size, whatever reduction is asked for.
	progressive bool
	// samples is how many bytes the standard library takes for a pixel of a PNG.
	samples int64
	// frugal asks for [errDoubtful] where a JPEG would be decoded a second time.
	frugal bool
}

// Inspect reads the header of a decodable image without decoding a pixel and
// without an allocation that depends on the declared size. It refuses formats and
// variants that [Decode] does not read.
func Inspect(data []byte) (Header, error) {
	if len(data) == 0 {
		return Header{}, ErrEmpty
	}
	f := Sniff(data)
	if f == Unknown {
		return Header{}, fmt.Errorf("%w: %s", ErrNotImage, describe(data))
	}
	var (
		h   Header
		err error
	)
	switch f {
	case JPEG:
		h, err = inspectJPEG(data)
	case PNG:
		h, err = inspectPNG(data)
	case WebP:
		h, err = inspectWebP(data)
	case BMP:
		h, err = inspectBMP(data)
	case PNM:
		h, err = inspectPNM(data)
	case GIF:
		err = inspectGIF(data)
	default:
		err = fmt.Errorf("%w: %s is not decoded, convert it to JPEG or PNG", ErrUnsupported, f)
	}
	if err != nil {
		return Header{}, err
	}
	if h.W <= 0 || h.H <= 0 {
		return Header{}, refusal(ErrCorrupt, f, "declares a size of %dx%d", h.W, h.H)
	}
	h.Format = f
	return h, nil
}

// Peek is [Inspect] of an image of which only the beginning is at hand. Its header is what the
// image declares there, which may be contradicted further on. [ErrNotImage] is certain; after any
// other error the whole image must be looked at.
func Peek(head []byte) (Header, error) {
	f := Sniff(head)
	var h Header
	switch {
	case f == PNG && len(head) >= len(pngMagic)+8+pngHeaderLen:
		h = pngHeader(head[len(pngMagic)+8:])
	case f == WebP:
		h = peekWebP(head[12:])
	default:
		return Inspect(head)
	}
	h.Format = f
	if h.W <= 0 || h.H <= 0 {
		return Header{}, refusal(ErrTruncated, f, "does not declare a size here")
	}
	return h, nil
}

func inspectBMP(data []byte) (Header, error) {
	c, err := bmp.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return Header{}, classify(BMP, err)
	}
	return Header{W: c.Width, H: c.Height, Orientation: 1}, nil
}
