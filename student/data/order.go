package data

import "math/rand/v2"

// blockRows is the number of consecutive rows that an epoch reads one after another: a
// full record batch, some megabytes of crops.
const blockRows = 512

// order is the order in which an epoch reads a dataset. There are two.
//
// With a window that holds all rows, they are shuffled as a whole.
//
// With a smaller one, the dataset is cut into blocks, the blocks are shuffled and laid
// in a ring; from a random place on, the ring is cut into windows, within each of which
// the rows are shuffled. So an epoch reads the blocks of a window before those of the
// next, and no row is further than a window from the place its block has. Thanks to the
// random place every row is equally likely everywhere in the epoch, hence in its end,
// which may not fill a batch. A window follows from the seed, the epoch and its number,
// and from no other window: a run can go on anywhere.
type order struct {
	rows, window int
	seed         uint64
	epoch        int
	blocks       []int // numbers of the blocks in the order of the epoch; nil if all rows are one window
	short        int   // place of the dataset's last block, which may have fewer rows
	missing      int   // rows that it lacks
	begin        int   // place in the ring of the epoch's first row
}

// newOrder is the order of an epoch over some rows. A window of 0 rows is one of all.
func newOrder(rows, window int, seed uint64, epoch int) *order {
	o := &order{rows: rows, window: window, seed: seed, epoch: epoch}
	if window == 0 || window >= rows {
		o.window = rows
		return o
	}
	n := (rows + blockRows - 1) / blockRows
	o.missing = n*blockRows - rows
	rng := rand.New(rand.NewPCG(seed, uint64(epoch)))
	o.blocks, o.begin = rng.Perm(n), rng.IntN(rows)
	for place, block := range o.blocks {
		if block == n-1 {
			o.short = place
		}
	}
	return o
}

// windows is the number of windows, of which the last may have fewer rows.
func (o *order) windows() int { return (o.rows + o.window - 1) / o.window }

// fill is window i: the rows of the epoch's places i*window to i*window+window-1.
func (o *order) fill(i int) []int {
	if o.blocks == nil {
		return rand.New(rand.NewPCG(o.seed, uint64(o.epoch))).Perm(o.rows)
	}
	var rows []int
	o.spans(i, func(row, n int) {
		for k := range n {
			rows = append(rows, row+k)
		}
	})
	// Another stream than that of any epoch's blocks, and of any other window.
	rng := rand.New(rand.NewPCG(o.seed^0xd1b54a32d192ed03, uint64(o.epoch)<<32|uint64(i)))
	rng.Shuffle(len(rows), func(a, b int) { rows[a], rows[b] = rows[b], rows[a] })
	return rows
}

// spans visits the consecutive rows, block after block, that window i consists of.
func (o *order) spans(i int, visit func(row, n int)) {
	left := min(o.window, o.rows-i*o.window)
	for at := o.begin + i*o.window; left > 0; {
		place, into := o.block(at % o.rows)
		n := min(o.blockLen(place)-into, left)
		visit(o.blocks[place]*blockRows+into, n)
		at += n
		left -= n
	}
}

// block is the place of the block that a place in the ring is in, and its row of it.
func (o *order) block(at int) (place, into int) {
	if at >= o.short*blockRows+blockRows-o.missing {
		at += o.missing // as if the short block were a full one
	}
	return at / blockRows, at % blockRows
}

func (o *order) blockLen(place int) int {
	if place == o.short {
		return blockRows - o.missing
	}
	return blockRows
}
