//go:build !amd64

package embed

// fillPlanes normalises n pixels of rgb into the planes r, g and b, mirrored if flip.
func (f *filler) fillPlanes(r, g, b []float32, rgb []byte, n int, flip bool) {
	for to := range n {
		from := to
		if flip {
			from = n - 1 - to
		}
		f.one(r, g, b, rgb[3*from:], to)
	}
}
