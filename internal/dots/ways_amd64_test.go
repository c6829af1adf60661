package dots

// ways are all that this processor has to take products.
func ways() map[string]func(*Tile, *[Rows][]float32, Panel) {
	all := map[string]func(*Tile, *[Rows][]float32, Panel){
		"best":  (*Tile).Multiply,
		"plain": func(t *Tile, rows *[Rows][]float32, p Panel) { multiplyPlain(t, rows, p, len(p)/Columns) },
	}
	pointers := func(rows *[Rows][]float32) (at [Rows]*float32) {
		for r := range rows {
			at[r] = &rows[r][0]
		}
		return at
	}
	add := func(name string, tile func(t *Tile, at *[Rows]*float32, p Panel, n int)) {
		all[name] = func(t *Tile, rows *[Rows][]float32, p Panel) {
			if len(p) == 0 {
				*t = Tile{}
				return
			}
			at := pointers(rows)
			tile(t, &at, p, len(p)/Columns)
		}
	}
	if hasAVX512 {
		add("avx512", func(t *Tile, at *[Rows]*float32, p Panel, n int) { tileAVX512(&t[0][0], at, &p[0], n) })
	}
	if hasFMA {
		add("fma", multiplyFMA)
	}
	return all
}
