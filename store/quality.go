package store

import (
	"fmt"
	"math"
)

// Quality is what can be measured of a face without knowing whose it is. A measure
// that is unknown is NaN: an aligned crop does not tell how large the face was in
// its photograph, or which way it looked.
type Quality struct {
	// FaceSize is the side, in pixels of the source photo, of the square that the crop
	// shows: below CropSize, the crop holds more pixels than the photo had.
	FaceSize float32
	// Sharpness is the variance of the Laplacian of the crop's luma, whose range is
	// 0..255: near 0 for a blurred face, hundreds or thousands for a sharp one.
	Sharpness float32
	// Yaw, Pitch and Roll are the head's angles in degrees, estimated from the
	// landmarks: positive where it turns to the image's right, looks up, and leans
	// clockwise as one sees the image.
	Yaw, Pitch, Roll float32
}

// values are the measures in the order of the column, every NaN the same: shards must
// not depend on which processor made it.
func (q Quality) values() [qualityValues]float32 {
	values := [...]float32{q.FaceSize, q.Sharpness, q.Yaw, q.Pitch, q.Roll}
	for i, v := range values {
		if v != v {
			values[i] = math.Float32frombits(0x7fc00000)
		}
	}
	return values
}

// qualityOf is the inverse of values.
func qualityOf(v []float32) Quality {
	return Quality{FaceSize: v[0], Sharpness: v[1], Yaw: v[2], Pitch: v[3], Roll: v[4]}
}

func (q Quality) validate() error {
	for _, v := range q.values() {
		if math.IsInf(float64(v), 0) {
			return fmt.Errorf("quality %+v is not finite", q)
		}
	}
	return nil
}
