package recordio

import (
	"encoding/binary"
	"fmt"
	"math"
)

// HeaderSize is the size of a record's header in bytes, without the label vector.
const HeaderSize = 24

// MaxExact is 2^24. float32, the type of all labels, holds every integer up to it. Greater
// ones may have been rounded to a neighbour.
const MaxExact = 1 << 24

// Header begins every record (MXNet's IRHeader).
type Header struct {
	// Flag is the number of labels in the vector, 0 if the label is the scalar one.
	Flag uint32
	// Scalar is the label if there is no vector.
	Scalar float32
	// ID is, by custom, the record's key; ID2 is not used.
	ID, ID2 uint64
	// Labels is the label vector. [ParseHeader] fills in as much as its prefix has.
	Labels []float32
	// ImageSize is how many bytes follow header and labels.
	ImageSize int64
}

// ParseHeader reads the header of a record of length bytes. prefix is the beginning of the
// record, or all. It is an error if the record is too short.
func ParseHeader(prefix []byte, length int64) (Header, error) {
	if length < HeaderSize || len(prefix) < HeaderSize {
		return Header{}, fmt.Errorf("a record of %d bytes is shorter than a header, which takes %d", length, HeaderSize)
	}
	h := Header{
		Flag:   binary.LittleEndian.Uint32(prefix),
		Scalar: math.Float32frombits(binary.LittleEndian.Uint32(prefix[4:])),
		ID:     binary.LittleEndian.Uint64(prefix[8:]),
		ID2:    binary.LittleEndian.Uint64(prefix[16:]),
	}
	h.ImageSize = length - HeaderSize - 4*int64(h.Flag)
	if h.ImageSize < 0 {
		return Header{}, fmt.Errorf("a record of %d bytes is too short for %d labels", length, h.Flag)
	}
	vector := prefix[HeaderSize:]
	if n := min(int64(h.Flag), int64(len(vector)/4)); n > 0 {
		h.Labels = make([]float32, n)
		for i := range h.Labels {
			h.Labels[i] = math.Float32frombits(binary.LittleEndian.Uint32(vector[4*i:]))
		}
	}
	return h, nil
}

// Label is the label that names the class: the first of the vector or, without one, the
// scalar.
func (h Header) Label() float32 {
	if len(h.Labels) > 0 {
		return h.Labels[0]
	}
	return h.Scalar
}

// Detection tells the labels that im2rec packs for object detection: the width of their own head,
// at least 2, the width of an object, at least 5, perhaps more of the head, and objects, each a
// class and two corners. ok is false for others.
func (h Header) Detection() (head, object int, ok bool) {
	const headWidth, objectWidth, most = 2, 5, 1 << 16
	if len(h.Labels) < headWidth {
		return 0, 0, false
	}
	a, b := h.Labels[0], h.Labels[1]
	if !(a >= headWidth && b >= objectWidth && a < most && b < most) || a != float32(int(a)) || b != float32(int(b)) {
		return 0, 0, false
	}
	head, object = int(a), int(b)
	if n := int64(h.Flag); n < int64(head+object) || (n-int64(head))%int64(object) != 0 {
		return 0, 0, false
	}
	for at := head; at+objectWidth <= len(h.Labels); at += object {
		if o := h.Labels[at:]; o[0] != float32(int(o[0])) || !(o[1] <= o[3] && o[2] <= o[4]) {
			return 0, 0, false
		}
	}
	return head, object, true
}

// Range is the two labels of a record of insightface's that holds no image. Record 0 has the
// first key behind the images and the first behind the identities. An identity has the key of
// its first image and the first behind its last. ok is false for any other record.
func (h Header) Range() (from, to float32, ok bool) {
	if h.ImageSize != 0 || h.Flag != 2 || len(h.Labels) != 2 {
		return 0, 0, false
	}
	return h.Labels[0], h.Labels[1], true
}

// appendTo appends the header and the label vector, whose length is the flag, to b.
func (h Header) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(h.Labels)))
	b = binary.LittleEndian.AppendUint32(b, math.Float32bits(h.Scalar))
	b = binary.LittleEndian.AppendUint64(b, h.ID)
	b = binary.LittleEndian.AppendUint64(b, h.ID2)
	for _, l := range h.Labels {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(l))
	}
	return b
}
