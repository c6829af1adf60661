package teacher

import (
	"fmt"
	"sync/atomic"
	"time"

	"facepipe/store"
)

// reading loads crops and knows how long that took.
type reading struct {
	crops *store.CropReader
	spent atomic.Int64 // nanoseconds of reading, without decoding
}

func newReading(crops *store.CropReader) *reading { return &reading{crops: crops} }

// decode decodes the crop at a location into rgb.
func (r *reading) decode(at store.Location, rgb []byte) error {
	begun := time.Now()
	crop, err := r.crops.Image(at)
	r.spent.Add(int64(time.Since(begun)))
	if err != nil {
		return err
	}
	if err := crop.DecodeRGB(r.crops.CropSize(), rgb); err != nil {
		return fmt.Errorf("decode %s: %w", crop.Key, err)
	}
	return nil
}

func (r *reading) seconds() time.Duration { return time.Duration(r.spent.Load()) }
