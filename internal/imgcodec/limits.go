package imgcodec

// DefaultMaxPixels is the limit of the zero [Limits]: 100 megapixels, which are 300 MB of RGB
// and beyond any portrait camera.
const DefaultMaxPixels = 100_000_000

// Limits bound what one image may make the process allocate.
type Limits struct {
	// Pixels is the largest accepted width times height; 0 means
	// [DefaultMaxPixels].
	Pixels int64
}

// Check refuses an image whose declared size exceeds the limits, with ErrTooLarge.
func (l Limits) Check(h Header) error {
	limit := l.Pixels
	if limit == 0 {
		limit = DefaultMaxPixels
	}
	// This divides, as the product of declared sizes may overflow.
	if int64(h.W) > limit/int64(max(h.H, 1)) {
		return refusal(ErrTooLarge, h.Format, "declares %dx%d pixels, more than the limit of %d", h.W, h.H, limit)
	}
	return nil
}
