package store

import "fmt"

// Contract is how the crops of a dataset were made. Crops of two contracts are
// not comparable (a teacher's embedding moves with every one of these), so a data
// set has exactly one and appending under another is refused.
type Contract struct {
	// CropSize is the side of the square crop in pixels, 112 throughout the field.
	CropSize int `json:"crop_size"`
	// Template names the five landmark positions that faces are aligned to.
	Template string `json:"template"`
	// Warp names the resampling: interpolation, border, version.
	Warp string `json:"warp"`
	// Decoder names the image decoders, whose pixels differ by a level or two.
	Decoder string `json:"decoder"`
}

// maxCropSize keeps 3*CropSize² far inside the limits of one record batch.
const maxCropSize = 1024

func (c Contract) validate() error {
	if c.CropSize < 1 || c.CropSize > maxCropSize {
		return fmt.Errorf("crop size %d is not in 1..%d", c.CropSize, maxCropSize)
	}
	if c.Template == "" || c.Warp == "" || c.Decoder == "" {
		return fmt.Errorf("contract %+v leaves a field empty", c)
	}
	return nil
}
