package imgcodec

import (
	"bytes"
	"encoding/binary"
)

// JPEG markers (ITU-T T.81, table B.1).
const (
	markerTEM  = 0x01
	markerSOF0 = 0xc0
	markerSOF2 = 0xc2
	markerDHT  = 0xc4
	markerJPG  = 0xc8
	markerDAC  = 0xcc
	markerSOFF = 0xcf
	markerRST0 = 0xd0
	markerSOI  = 0xd8
	markerEOI  = 0xd9
	markerSOS  = 0xda
	markerAPP1 = 0xe1
	markerAPPE = 0xee
)

// adobeCMYK is what Adobe's marker segment holds in a file of ink values that are stored inverted
// and as they are: name, version, two flags and the colour transform.
const adobeCMYK = "Adobe\x00\x64\x00\x00\x00\x00\x00"

// inspectJPEG goes through the segments up to the first scan. It refuses what only one of the
// two decoders reads, so that both accept the same files.
func inspectJPEG(data []byte) (Header, error) {
	h := Header{Orientation: 1}
	rest := data[2:]
	for {
		marker, segment, tail, err := nextSegment(rest)
		if err != nil {
			return Header{}, err
		}
		rest = tail
		switch {
		case marker == markerSOS:
			if h.Components == 0 {
				return Header{}, refusal(ErrCorrupt, JPEG, "has a scan before its frame header")
			}
			h.pixels = len(data) - len(rest)
			h.progressive = h.progressive || len(segment) > 0 && int(segment[0]) != h.Components
			return h, nil
		case marker == markerAPP1 && bytes.HasPrefix(segment, []byte(exifPrefix)):
			h.Orientation = exifOrientation(segment)
		case marker == markerAPPE && len(segment) >= len(adobeCMYK) && string(segment[:5]) == adobeCMYK[:5]:
			h.adobe = true
		case isFrameHeader(marker):
			if h.Components != 0 {
				return Header{}, refusal(ErrCorrupt, JPEG, "has two frame headers")
			}
			if err := readFrameHeader(&h, marker, segment); err != nil {
				return Header{}, err
			}
		}
	}
}

// nextSegment splits the first marker segment off data; segment is its payload.
// Bytes between segments are skipped, as decoders do.
func nextSegment(data []byte) (marker byte, segment, rest []byte, err error) {
	for {
		marker, data = nextMarker(data)
		switch {
		case marker == markerEOI:
			return 0, nil, nil, refusal(ErrCorrupt, JPEG, "holds no scan")
		case marker == 0 && len(data) == 0:
			return 0, nil, nil, refusal(ErrTruncated, JPEG, "ends before its first scan")
		case marker == 0, marker == markerTEM, marker >= markerRST0 && marker <= markerSOI:
			continue // no payload
		}
		if len(data) < 2 {
			return 0, nil, nil, refusal(ErrTruncated, JPEG, "ends before its first scan")
		}
		n := int(binary.BigEndian.Uint16(data))
		if n < 2 {
			return 0, nil, nil, refusal(ErrCorrupt, JPEG, "has a segment of %d bytes", n)
		}
		if n > len(data) {
			return 0, nil, nil, refusal(ErrTruncated, JPEG, "ends inside a header segment")
		}
		return marker, data[2:n], data[n:], nil
	}
}

// nextMarker goes to the byte behind the next run of 0xff. If there is none the marker is zero
// and the rest empty.
func nextMarker(data []byte) (marker byte, rest []byte) {
	start := bytes.IndexByte(data, 0xff)
	if start < 0 {
		return 0, nil
	}
	for i := start; i < len(data); i++ {
		if data[i] != 0xff {
			return data[i], data[i+1:]
		}
	}
	return 0, nil
}

func isFrameHeader(marker byte) bool {
	return marker >= markerSOF0 && marker <= markerSOFF &&
		marker != markerDHT && marker != markerJPG && marker != markerDAC
}

// readFrameHeader fills in size and components from a frame header segment
// (T.81, B.2.2).
func readFrameHeader(h *Header, marker byte, segment []byte) error {
	if marker > markerSOF2 {
		return refusal(ErrUnsupported, JPEG, "is lossless, hierarchical or arithmetic-coded (frame type %#x)", marker)
	}
	if len(segment) < 6 {
		return refusal(ErrCorrupt, JPEG, "has a frame header of %d bytes", len(segment))
	}
	if precision := segment[0]; precision != 8 {
		return refusal(ErrUnsupported, JPEG, "has %d bits a sample, not 8", precision)
	}
	h.progressive = marker == markerSOF2
	h.H = int(binary.BigEndian.Uint16(segment[1:]))
	h.W = int(binary.BigEndian.Uint16(segment[3:]))
	h.Components = int(segment[5])
	switch h.Components {
	case 1, 3, 4:
		return nil
	}
	return refusal(ErrUnsupported, JPEG, "has %d colour components", h.Components)
}
