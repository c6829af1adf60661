package dots

import "golang.org/x/sys/cpu"

// Which of the functions below the processor has.
var (
	hasAVX512 = cpu.X86.HasAVX512F
	hasFMA    = cpu.X86.HasAVX2 && cpu.X86.HasFMA
)

func multiply(t *Tile, rows *[Rows][]float32, p Panel, n int) {
	if !hasAVX512 && !hasFMA {
		multiplyPlain(t, rows, p, n)
		return
	}
	var at [Rows]*float32
	for r := range rows {
		at[r] = &rows[r][0]
	}
	if hasAVX512 {
		tileAVX512(&t[0][0], &at, &p[0], n)
		return
	}
	multiplyFMA(t, &at, p, n)
}

// multiplyFMA fills the tile in four parts.
func multiplyFMA(t *Tile, at *[Rows]*float32, p Panel, n int) {
	for r := 0; r < Rows; r += 6 {
		for c := 0; c < Columns; c += 16 {
			tileFMA(&t[r][c], (*[6]*float32)(at[r:]), &p[c], n)
		}
	}
}

// tileAVX512 fills a tile with the products of 12 vectors of n elements, n at least 1, and the 32
// of the panel.
//
//go:noescape
func tileAVX512(tile *float32, rows *[Rows]*float32, panel *float32, n int)

// tileFMA fills 6 rows of 16 columns of a tile, from those of 6 vectors and the columns of a
// panel that begin at panel.
//
//go:noescape
func tileFMA(tile *float32, rows *[6]*float32, panel *float32, n int)
