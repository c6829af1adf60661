//go:build !amd64

package dots

// ways are all that this processor has to take products.
func ways() map[string]func(*Tile, *[Rows][]float32, Panel) {
	return map[string]func(*Tile, *[Rows][]float32, Panel){"best": (*Tile).Multiply}
}
