package store

import (
	"crypto/sha256"
	"fmt"
	"strconv"

	"facepipe/internal/imgcodec"
	"facepipe/store/internal/table"
)

// NoLabel is the label of a crop without an identity.
const NoLabel int32 = -1

// MaxAttributesBytes is the longest [Crop].Attributes.
const MaxAttributesBytes = 64 << 10

// Crop is one aligned face.
type Crop struct {
	// ID is [CropID] of the decoded pixels.
	ID ID
	// Source is the number that [Writer.AddSource] gave.
	Source int
	// Key names the crop: its path relative to the source. Unique in the dataset.
	Key string
	// Identity names the person, "" if unknown.
	Identity string
	// Label numbers the identities of a dataset 0, 1, 2 ... by first appearance;
	// [NoLabel] without an identity. The writer assigns it and ignores what is here.
	Label int32
	// Encoding is the format of Image.
	Encoding imgcodec.Format
	// Image is the encoded crop, CropSize pixels square.
	Image []byte
	// HasLandmarks says whether Landmarks means anything.
	HasLandmarks bool
	// Landmarks are x0, y0 ... x4, y4 in pixels of the source photo: the eye on the
	// image's left, the other eye, nose tip, mouth corner on the image's left, the
	// other corner.
	Landmarks [10]float32
	// Score is the detector's confidence, in its own range; 0 without a detector.
	Score float32
	// Split is the part of the dataset that the crop belongs to, such as train or val;
	// "" if it was not split.
	Split string
	// Attributes are what else the source knew, a JSON object whose members are in the
	// source's order, at most [MaxAttributesBytes]; "" for nothing.
	Attributes string
	// HasQuality says whether Quality means anything.
	HasQuality bool
	// Quality is what was measured of the face.
	Quality Quality
	// Stamp is of the file that the crop was made of. It is written and not read back, see
	// [Writer.Stamp].
	Stamp Stamp
}

// DecodeRGB decodes the crop into dst as size*size*3 bytes of interleaved 8-bit
// RGB, rows from the top. size is the contract's CropSize; a crop of another size
// is an error.
func (c Crop) DecodeRGB(size int, dst []byte) error {
	return imgcodec.DecodeRGB(c.Encoding, c.Image, size, size, dst)
}

// CropID is the first 16 bytes of the SHA-256 of
//
//	"facepipe crop v1" 00 template 00 decimal crop size 00 pixels
//
// where pixels are the crop's CropSize*CropSize*3 bytes of interleaved 8-bit RGB.
// It panics if rgb has another length: the caller would name a different picture.
func CropID(c Contract, rgb []byte) ID {
	if len(rgb) != 3*c.CropSize*c.CropSize {
		panic(fmt.Sprintf("store: crop of %d bytes is not %d x %d RGB", len(rgb), c.CropSize, c.CropSize))
	}
	h := sha256.New()
	h.Write([]byte("facepipe crop v1\x00" + c.Template + "\x00" + strconv.Itoa(c.CropSize) + "\x00"))
	h.Write(rgb)
	var sum [sha256.Size]byte
	return ID(h.Sum(sum[:0])[:16])
}

// ID identifies a crop by what a model sees of it: two crops with the same pixels
// under the same alignment have the same ID, in whatever file and dataset they
// are.
type ID = table.ID

// ParseID reads the 32 hexadecimal digits of an [ID].
func ParseID(s string) (ID, error) { return table.ParseID(s) }

// Location is where a crop is: row Row of shard Shard, and the same row of the
// same shard of every teacher.
type Location = table.Location
