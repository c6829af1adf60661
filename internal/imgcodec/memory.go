package imgcodec

// What a decoder takes of memory besides the encoded picture and the decoded one, in bytes: at
// most, so that who adds them up stays within what there is. They follow from how the standard
// library, golang.org/x/image and libjpeg-turbo keep pictures.
const (
	// decoderBytes are tables, rows and windows of a decoder.
	decoderBytes = 1 << 20
	// jpegBlock is the side of the largest block that a JPEG's sides are rounded up to.
	jpegBlock = 32
	// stdCoefficient and turboCoefficient are of a coefficient of a progressive JPEG, of which a
	// component has one a pixel.
	stdCoefficient, turboCoefficient = 4, 2
	// webpTrees and webpTreesPerByte bound the Huffman trees of a lossless WebP: there are up to
	// 2600 groups of them, and each takes bytes of the file.
	webpTrees, webpTreesPerByte = 200 << 20, 300
)

// area is the declared number of pixels.
func (h Header) area() int64 { return int64(h.W) * int64(h.H) }

// scratch is what decoding at full size takes besides the picture, size being the encoded one's.
func (h Header) scratch(size int64) int64 {
	switch h.Format {
	case JPEG:
		return decoderBytes + h.stdJPEG()
	case PNG:
		return decoderBytes + size + h.samples*h.area()
	case WebP:
		// Luma and half of both colours, or colour and what it was made of; and the opacity.
		return decoderBytes + size + 10*h.area() + min(webpTreesPerByte*size, webpTrees)
	case BMP:
		return decoderBytes + 4*h.area()
	}
	return decoderBytes
}

// stdJPEG is what the standard library's decoder takes: the planes, of CMYK once more with the
// colours put together, and the coefficients.
func (h Header) stdJPEG() int64 {
	planes := int64(h.Components)
	if h.Components == 4 {
		planes = 8
	}
	if h.progressive {
		planes += stdCoefficient * int64(h.Components)
	}
	return planes * h.blockPixels()
}

// turboJPEG is what libjpeg-turbo takes: the coefficients.
func (h Header) turboJPEG() int64 {
	if !h.progressive {
		return decoderBytes
	}
	return decoderBytes + turboCoefficient*int64(h.Components)*h.blockPixels()
}

// blockPixels is the number of pixels in whole blocks.
func (h Header) blockPixels() int64 {
	return int64(ceilDiv(h.W, jpegBlock)) * int64(ceilDiv(h.H, jpegBlock)) * jpegBlock * jpegBlock
}

// Bytes is how many bytes of memory are taken at most during and after [Photo.Decode] at a
// reduction, without the encoded photograph. It grows if the standard library is to judge what
// libjpeg-turbo has only warned of.
func (p *Photo) Bytes(reduction int) int64 {
	h, size := p.Header, int64(len(p.data))
	turned := int64(0)
	out := 3 * int64(ceilDiv(h.W, reduction)) * int64(ceilDiv(h.H, reduction))
	if h.Orientation > 1 {
		turned = out
	}
	switch {
	case !p.decoderReduces():
		// The full picture is kept, so what one reduction has taken serves the others.
		after := h.area()
		if h.Orientation > 1 {
			after *= 3
		}
		return 3*h.area() + max(h.scratch(size), after)
	case p.doubtful:
		return out + turned + h.scratch(size) + 3*h.area() + h.turboJPEG()
	}
	return out + turned + h.turboJPEG()
}
