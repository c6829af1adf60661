//go:build !amd64

package align

// warpLine fills a row of a crop.
func warpLine(row []byte, l *line) { l.sample(row, 0) }
