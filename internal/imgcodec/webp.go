package imgcodec

import "encoding/binary"

// inspectWebP walks the RIFF chunks (RFC 9649) up to the picture, and past it for
// an orientation.
func inspectWebP(data []byte) (Header, error) {
	h := Header{Orientation: 1}
	riffSize := uint64(binary.LittleEndian.Uint32(data[4:]))
	if riffSize+8 > uint64(len(data)) {
		return Header{}, refusal(ErrTruncated, WebP, "has %d of %d bytes", len(data), riffSize+8)
	}
	rest := data[12:max(12, riffSize+8)]
	pictures, canvasW, canvasH := 0, 0, 0
	for len(rest) >= 8 {
		kind := string(rest[:4])
		size := uint64(binary.LittleEndian.Uint32(rest[4:]))
		if size > uint64(len(rest)-8) {
			return Header{}, refusal(ErrTruncated, WebP, "ends inside its %q chunk", kind)
		}
		body := rest[8 : 8+size]
		switch kind {
		case "ANIM", "ANMF":
			return Header{}, refusal(ErrAnimated, WebP, "has several frames")
		case "VP8X":
			canvasW, canvasH = vp8xSize(body)
		case "VP8 ":
			h.W, h.H = vp8Size(body)
			pictures++
		case "VP8L":
			h.W, h.H = vp8lSize(body)
			pictures++
		case "EXIF":
			h.Orientation = exifOrientation(body)
		}
		rest = rest[min(uint64(len(rest)), 8+size+size&1):]
	}
	// A decoder may take another of several sizes than this one.
	if pictures > 1 {
		return Header{}, refusal(ErrCorrupt, WebP, "has %d pictures", pictures)
	}
	if canvasW > 0 && (canvasW != h.W || canvasH != h.H) {
		return Header{}, refusal(ErrCorrupt, WebP, "has a picture of %dx%d on a canvas of %dx%d", h.W, h.H, canvasW, canvasH)
	}
	return h, nil
}

// peekWebP reads the size of the canvas or of the picture in the first chunk; 0 by 0 if that is
// not here.
func peekWebP(chunks []byte) Header {
	h := Header{Orientation: 1}
	if len(chunks) < 8 {
		return h
	}
	switch body := chunks[8:]; string(chunks[:4]) {
	case "VP8X":
		h.W, h.H = vp8xSize(body)
	case "VP8 ":
		h.W, h.H = vp8Size(body)
	case "VP8L":
		h.W, h.H = vp8lSize(body)
	}
	return h
}

// vp8xSize reads the size of the canvas (RFC 9649, 2.7); 0 by 0 if the chunk is too short.
func vp8xSize(chunk []byte) (w, h int) {
	const chunkLen = 10
	if len(chunk) < chunkLen {
		return 0, 0
	}
	side := func(b []byte) int { return 1 + int(b[0]) + int(b[1])<<8 + int(b[2])<<16 }
	return side(chunk[4:]), side(chunk[7:])
}

// vp8Size reads the size in a lossy key frame's header (RFC 6386, 9.1); 0 by 0 if
// it is no key frame.
func vp8Size(frame []byte) (w, h int) {
	const frameHeaderLen = 10
	if len(frame) < frameHeaderLen || frame[0]&1 != 0 || string(frame[3:6]) != "\x9d\x01\x2a" {
		return 0, 0
	}
	// The upper two bits ask a player for upscaling, which is not part of the image.
	const sizeBits = 1<<14 - 1
	return int(binary.LittleEndian.Uint16(frame[6:]) & sizeBits), int(binary.LittleEndian.Uint16(frame[8:]) & sizeBits)
}

// vp8lSize reads the size in a lossless frame's header (RFC 9649, 3.4); 0 by 0 if
// the signature is missing.
func vp8lSize(frame []byte) (w, h int) {
	if len(frame) < 5 || frame[0] != 0x2f {
		return 0, 0
	}
	bits := binary.LittleEndian.Uint32(frame[1:])
	return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1
}

// studioToRGB converts one sample of a lossy WebP frame. Its samples span the
// studio range of BT.601 (luma 16 to 235), which the standard library's YCbCr
// model, made for JPEG's full range, would show with washed-out contrast. The
// factors are 255/219 for luma, and 255/224 times the colour difference weights,
// in 14-bit fixed point.
func studioToRGB(y, cb, cr uint8) (r, g, b uint8) {
	const (
		half        = 1 << 13
		luma        = 19077 // 1.164
		redFromCr   = 26149 // 1.596
		greenFromCb = 6419  // 0.392
		greenFromCr = 13320 // 0.813
		blueFromCb  = 33050 // 2.017
	)
	l := (int32(y)-16)*luma + half
	u, v := int32(cb)-128, int32(cr)-128
	return clamp8((l + v*redFromCr) >> 14), clamp8((l - u*greenFromCb - v*greenFromCr) >> 14), clamp8((l + u*blueFromCb) >> 14)
}

func clamp8(v int32) uint8 {
	return uint8(min(max(v, 0), 255))
}
