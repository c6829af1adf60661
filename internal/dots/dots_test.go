package dots

import (
	"math"
	"math/rand/v2"
	"testing"
)

// block is rows and a panel of vectors of n elements, and these by themselves.
func block(n int) (rows [Rows][]float32, columns [Columns][]float32, p Panel) {
	rng := rand.New(rand.NewPCG(1, uint64(n)))
	draw := func() []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(rng.NormFloat64())
		}
		return v
	}
	for r := range rows {
		rows[r] = draw()
	}
	p = NewPanel(n)
	for c := range columns {
		columns[c] = draw()
		p.Put(c, columns[c])
	}
	return rows, columns, p
}

// Products are what sums in double precision say, up to rounding, in every way to take them.
func TestMultiply(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 16, 128, 511, 512} {
		rows, columns, p := block(n)
		for name, multiply := range ways() {
			var tile Tile
			tile[3][5] = 7 // of before
			multiply(&tile, &rows, p)
			for r, row := range rows {
				for c, column := range columns {
					sum, size := 0.0, 0.0
					for i := range row {
						sum += float64(row[i]) * float64(column[i])
						size += math.Abs(float64(row[i]) * float64(column[i]))
					}
					if off := math.Abs(float64(tile[r][c]) - sum); off > size*float64(n)*0x1p-24 {
						t.Fatalf("%s, %d elements: product %d, %d is %g, want %g", name, n, r, c, tile[r][c], sum)
					}
				}
			}
		}
	}
}

// The bits of a product depend neither on its place nor on the instruction set, as long as that
// fuses.
func TestBitsOfAProduct(t *testing.T) {
	rows, _, p := block(512)
	for i := range rows {
		rows[i] = rows[0]
	}
	v := make([]float32, 512)
	for i := range v {
		v[i] = p[i*Columns]
	}
	for c := range Columns {
		p.Put(c, v)
	}
	var fused uint32
	for name, multiply := range ways() {
		var tile Tile
		multiply(&tile, &rows, p)
		want := math.Float32bits(tile[0][0])
		if name == "avx512" || name == "fma" {
			if fused != 0 && fused != want {
				t.Errorf("%s: %#x, want %#x", name, want, fused)
			}
			fused = want
		}
		for r := range tile {
			for c, x := range tile[r] {
				if math.Float32bits(x) != want {
					t.Fatalf("%s: product %d, %d is %g, the first %g", name, r, c, x, tile[0][0])
				}
			}
		}
	}
}

func TestShortRow(t *testing.T) {
	rows, _, p := block(8)
	rows[11] = rows[11][:7]
	defer func() {
		if recover() == nil {
			t.Error("a row that is too short was read")
		}
	}()
	new(Tile).Multiply(&rows, p)
}

func BenchmarkMultiply(b *testing.B) {
	rows, _, p := block(512)
	for name, multiply := range ways() {
		b.Run(name, func(b *testing.B) {
			var tile Tile
			for b.Loop() {
				multiply(&tile, &rows, p)
			}
			b.ReportMetric(float64(b.N)*Rows*Columns*512/b.Elapsed().Seconds()/1e9, "Gproducts/s")
		})
	}
}
