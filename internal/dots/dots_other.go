//go:build !amd64

package dots

func multiply(t *Tile, rows *[Rows][]float32, p Panel, n int) { multiplyPlain(t, rows, p, n) }
