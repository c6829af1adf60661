package imgcodec

import (
	"bytes"
	"encoding/binary"
)

// exifPrefix precedes the TIFF structure in a JPEG APP1 segment, and in the EXIF
// chunk of WebP files of some writers.
const exifPrefix = "Exif\x00\x00"

// TIFF 6.0 and Exif 2.3: the tag that matters, the field types of whole numbers, and the sizes
// of the structures around them.
const (
	tagOrientation = 0x0112
	typeByte       = 1
	typeShort      = 3
	typeLong       = 4
	typeSByte      = 6
	typeSShort     = 8
	typeSLong      = 9
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
		if value := wholeNumber(entry, order); value >= 1 && value <= 8 {
			return int(value)
		}
		return 1
	}
	return 1
}

// wholeNumber is the value of a directory entry that is one number, of whatever type its writer
// chose: the standard wants a SHORT, and other readers take what they find. It is 0 for others,
// and large for negative numbers.
func wholeNumber(entry []byte, order binary.ByteOrder) uint32 {
	value := entry[8:]
	if order.Uint32(entry[4:]) != 1 {
		return 0
	}
	switch order.Uint16(entry[2:]) {
	case typeByte, typeSByte:
		return uint32(value[0])
	case typeShort, typeSShort:
		return uint32(order.Uint16(value))
	case typeLong, typeSLong:
		return order.Uint32(value)
	}
	return 0
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
