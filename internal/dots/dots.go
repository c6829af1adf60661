// Package dots multiplies many vectors with many: scalar products in float32, by the best of
// what the processor has.
//
// A product is summed up in the order of the elements, each step fused or, where the processor
// has no such step, not. So its bits do not depend on where in a block it stands, on what stands
// beside it, or on how many processors share the work; they are the same with AVX2 and AVX-512.
package dots

// A [Tile] has the products of Rows vectors with Columns others, which are packed in a [Panel].
const (
	Rows    = 12
	Columns = 32
)

// Tile has a row of products for each of the vectors that it was made of.
type Tile [Rows][Columns]float32

// Panel holds Columns vectors of one length, element by element: first the first element of
// each.
type Panel []float32

// NewPanel is a panel of vectors of n elements, all zero.
func NewPanel(n int) Panel { return make(Panel, n*Columns) }

// Put makes v one of the panel's vectors.
func (p Panel) Put(column int, v []float32) {
	for i, x := range v {
		p[i*Columns+column] = x
	}
}

// Multiply takes the products of rows, which are as long as the panel's vectors, with those.
func (t *Tile) Multiply(rows *[Rows][]float32, p Panel) {
	n := len(p) / Columns
	if n == 0 {
		*t = Tile{}
		return
	}
	for _, row := range rows {
		_ = row[n-1] // a row too short would be read beyond its end
	}
	multiply(t, rows, p, n)
}

// multiplyPlain is multiply without help of the processor.
func multiplyPlain(t *Tile, rows *[Rows][]float32, p Panel, n int) {
	const wide = 8 // sums that fit the registers of any processor
	for r, row := range rows {
		for c := 0; c < Columns; c += wide {
			var s0, s1, s2, s3, s4, s5, s6, s7 float32
			at := c
			for _, x := range row[:n] {
				y := (*[wide]float32)(p[at:])
				s0, s1, s2, s3 = s0+x*y[0], s1+x*y[1], s2+x*y[2], s3+x*y[3]
				s4, s5, s6, s7 = s4+x*y[4], s5+x*y[5], s6+x*y[6], s7+x*y[7]
				at += Columns
			}
			*(*[wide]float32)(t[r][c:]) = [wide]float32{s0, s1, s2, s3, s4, s5, s6, s7}
		}
	}
}
