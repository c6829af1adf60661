package imgcodec

import (
	"bytes"
	"encoding/binary"
)

// exifPrefix precedes the TIFF structure in a JPEG APP1 segment, and in the EXIF
// chunk of WebP files of some writers.
const exifPrefix = "Exif\x00\x00"

// TIFF 6.0 and Exif 2.3: the tag that matters, its field type, and the sizes of
// the structures around it.
const (
	tagOrientation = 0x0112
	typeShort      = 3
	tiffHeaderLen  = 8
	ifdEntryLen    = 12
)

// exifOrientation finds the orientation in the first image directory of a TIFF structure. If
// metadata is absent or damaged the picture is taken as upright, as viewers do.
func exifOrientation(tiff []byte) int {
	tiff = bytes.TrimPrefix(tiff, []byte(exifPrefix))
	order := tiffByteOrder(tiff)
	if order == nil {
		return 1
	}
	directory := uint64(order.Uint32(tiff[4:]))
	if directory+2 > uint64(len(tiff)) {
		return 1
	}
	entries := int(order.Uint16(tiff[directory:]))
	rest := tiff[directory+2:]
	for ; entries > 0 && len(rest) >= ifdEntryLen; entries-- {
		entry := rest[:ifdEntryLen]
		rest = rest[ifdEntryLen:]
		if order.Uint16(entry) != tagOrientation {
			continue
		}
		value := int(order.Uint16(entry[8:]))
		if order.Uint16(entry[2:]) != typeShort || value < 1 || value > 8 {
			return 1
		}
		return value
	}
	return 1
}

// tiffByteOrder reads a TIFF header; nil if it is none.
func tiffByteOrder(tiff []byte) binary.ByteOrder {
	if len(tiff) < tiffHeaderLen {
		return nil
	}
	switch string(tiff[:4]) {
	case "II*\x00":
		return binary.LittleEndian
	case "MM\x00*":
		return binary.BigEndian
	}
	return nil
}
