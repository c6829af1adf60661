// Package data feeds the trainer: which crops make up which batch, and their
// pixels and cached teacher embeddings, read ahead by a pool of workers.
//
// Everything that is random follows from (seed, epoch, row), never from the order
// in which workers finish, so a run that resumes at any step sees what an
// uninterrupted run would have seen.
package data

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"facepipe/store"
	"facepipe/store/cache"
)

// Batch is N crops with what is known of them.
type Batch struct {
	// Step is the number of the optimizer step that the batch belongs to, from zero,
	// over all epochs; Part is the batch's number within the step.
	Step, Part int
	// Rows are the crops' global rows in the dataset.
	Rows []int64
	// Labels are the crops' identities, store.NoLabel where unknown: those of a split, or
	// beside an exclusion, numbered without gaps, in the dataset's order.
	Labels []int32
	// Pixels is N×size×size×3 of interleaved RGB, as they are stored.
	Pixels []uint8
	// Mirrored is 1 for the crops that are to be mirrored, 0 for the others.
	Mirrored []uint8
	// Teachers are N×dim of raw cached embeddings of each teacher, of the mirror image where
	// Mirrored says so; zeros where the teacher gave none.
	Teachers [][]float32
	// Slot holds all of these but the numbers, nil if they are the caller's own; Layout says where.
	Slot   Slot
	Layout Layout
}

// Options tune a loader.
type Options struct {
	Batch int    // crops in a batch
	Parts int    // batches that make up a step; 0 is 1
	Split string // whose crops make up the batches, "" for all crops
	// Exclude is what of these crops is left out, with the identities that have no others; nil
	// for nothing.
	Exclude *Exclusion
	// DatasetLabels numbers identities as the dataset does, also those of a split, as
	// runs of older versions had them.
	DatasetLabels bool
	Seed          uint64 // of the order and the mirroring
	Flip          bool   // mirror every crop with probability one half
	Workers       int    // batches that are prepared at the same time
	// Window is the number of rows that are shuffled among each other: what is read at
	// random at a time. 0, or as many as there are, shuffles the dataset as a whole; a
	// smaller one reads it in runs of consecutive rows, for datasets larger than the
	// memory that caches them. Another window is another order.
	Window int
	// Slice of every batch that is this loader's; the zero value is all of it.
	Slice Slice
	// Sampler is one of [Samplers], "" for [Uniform]. Class-balanced crops are read at
	// random from all of the dataset, whatever the window.
	Sampler string
	// NewSlot makes the memory of batches, of which there are two more than Workers at most; nil
	// takes this process's.
	NewSlot func(bytes int) (Slot, error)
	// PerIdentity is the number of crops of each identity in a class-balanced batch.
	PerIdentity int
}

// Slice is one of Count equal parts of a batch, which lie in it in the order of their
// Index. Batches are the same ones whatever the number of slices.
type Slice struct{ Index, Count int }

// of is the slice's picks of a batch.
func (p Slice) of(batch []pick) []pick {
	if p.Count <= 1 {
		return batch
	}
	n := len(batch) / p.Count
	return batch[p.Index*n:][:n]
}

// Loader makes batches of a dataset.
type Loader struct {
	o        Options
	ds       *store.Dataset
	split    []int    // global rows that batches are made of, nil for all
	excluded int      // rows that batches would be made of otherwise
	numbers  []int32  // of the dataset's labels, nil where they are the same
	labels   int      // how many there are
	classes  *classes // nil for batches that are drawn uniformly
	teachers []*cache.Cache
	crops    []*store.CropShard
	targets  [][]*cache.Shard // by crop shard, one of each teacher
	size     int
	layout   Layout        // of batches
	waited   time.Duration // for batches; Run's alone

	mu      sync.Mutex
	slots   []Slot              // all that there are
	free    []*Batch            // batches that nobody has
	orders  map[int]*order      // of the epochs in flight
	windows map[windowKey][]int // rows of the windows in flight
	ahead   sync.WaitGroup      // reading of windows to come
}

// windowKey is a window of an epoch.
type windowKey struct{ epoch, number int }

// ErrOptions marks options that make no batches of a dataset, such as a batch larger than
// it. Messages do not show it.
var ErrOptions = errors.New("options that do not fit the dataset")

// optionError is a message with the kind ErrOptions.
type optionError struct{ error }

func (optionError) Is(target error) bool { return target == ErrOptions }

func (e optionError) Unwrap() error { return e.error }

func misfit(format string, args ...any) error { return optionError{fmt.Errorf(format, args...)} }

// New opens all shards of a dataset, and of teachers. A dataset, or a
// split, smaller than the batches of one step or with fewer identities than a class-balanced
// batch takes, and mirroring that the teacher has not seen, are [ErrOptions]; a cache that
// lacks shards is an error; a split without crops is [store.ErrNotFound].
func New(ds *store.Dataset, teachers []*cache.Cache, o Options) (*Loader, error) {
	o.Parts = max(1, o.Parts)
	l := &Loader{
		o: o, ds: ds, teachers: teachers, size: ds.Contract().CropSize,
		orders: map[int]*order{}, windows: map[windowKey][]int{},
	}
	if o.Split != "" {
		var err error
		if l.split, err = ds.SplitRows(o.Split); err != nil {
			return nil, err
		}
	}
	if o.Exclude != nil && len(o.Exclude.Rows) > 0 {
		before := l.Crops()
		l.split = without(l.split, ds.Rows(), o.Exclude)
		l.excluded = before - l.Crops()
	}
	if err := l.fits(); err != nil {
		return nil, err
	}
	if err := l.number(); err != nil {
		return nil, err
	}
	if o.uniform() < o.Batch {
		var err error
		if l.classes, err = newClasses(ds, l.split, o); err != nil {
			return nil, err
		}
	}
	if l.o.NewSlot == nil {
		l.o.NewSlot = newPlain
	}
	var dims []int
	for _, teacher := range teachers {
		dims = append(dims, teacher.Info().Dim)
		if missing := teacher.MissingShards(); len(missing) > 0 {
			return nil, fmt.Errorf("teacher %s lacks %d of %d shards: run precompute-teacher again", teacher.Info().Name, len(missing), ds.Shards())
		}
		if o.Flip && !teacher.Info().Flip {
			return nil, misfit("teacher %s has no embeddings of mirrored crops: run precompute-teacher with --flip, or train with --flip=off", teacher.Info().Name)
		}
	}
	l.layout = newLayout(o.Batch/max(o.Slice.Count, 1), l.size, dims)
	if err := l.open(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// number numbers the identities among the crops.
func (l *Loader) number() error {
	l.labels = l.ds.Identities()
	if l.split == nil || l.o.DatasetLabels || l.labels == 0 {
		return nil
	}
	all, err := l.ds.Labels(context.Background())
	if err != nil {
		return err
	}
	numbers := make([]int32, l.labels)
	for _, row := range l.split {
		if label := all[row]; label != store.NoLabel {
			numbers[label] = 1
		}
	}
	l.labels = 0
	for label, taken := range numbers {
		numbers[label] = int32(l.labels)
		l.labels += int(taken)
	}
	l.numbers = numbers
	return nil
}

// label is the number of a label of the dataset.
func (l *Loader) label(of int32) int32 {
	if l.numbers == nil || of == store.NoLabel {
		return of
	}
	return l.numbers[of]
}

// DatasetLabels are the dataset's labels of the identities, by the numbers that batches have.
func (l *Loader) DatasetLabels() []int32 {
	of := make([]int32, l.labels)
	if l.numbers == nil {
		for n := range of {
			of[n] = int32(n)
		}
		return of
	}
	for label, n := range l.numbers {
		if int(n) < l.labels {
			of[n] = int32(label) // of several the last: those before it are not among the crops
		}
	}
	return of
}

// Labels is how many identities labels tell apart: those of the crops where a split or an
// exclusion leaves some out, else the dataset's.
func (l *Loader) Labels() int { return l.labels }

// fits reports options that make no batches of the crops.
func (l *Loader) fits() error {
	o := &l.o
	switch p := o.Slice; {
	case o.Batch < 1:
		return misfit("batch %d is less than 1", o.Batch)
	case o.Batch*o.Parts > l.Crops():
		return misfit("a step takes %d crops (batch %d, accumulate %d): the dataset %s has %d crops to train on",
			o.Batch*o.Parts, o.Batch, o.Parts, l.ds.Dir(), l.Crops())
	case p.Count > 0 && (p.Index < 0 || p.Index >= p.Count || o.Batch%p.Count != 0):
		return misfit("slice %d of %d of a batch of %d", p.Index, p.Count, o.Batch)
	case !slices.Contains(append(Samplers(), ""), o.Sampler):
		return misfit("sampler %q is none of %v", o.Sampler, Samplers())
	case o.Window < 0:
		return misfit("window of %d rows", o.Window)
	}
	return nil
}

func (l *Loader) open() error {
	for i := range l.ds.Shards() {
		crops, err := l.ds.CropShard(i)
		if err != nil {
			return err
		}
		l.crops = append(l.crops, crops)
		l.targets = append(l.targets, nil)
		for _, teacher := range l.teachers {
			shard, err := teacher.Shard(i)
			if err != nil {
				return err
			}
			l.targets[i] = append(l.targets[i], shard)
		}
	}
	return nil
}

// Close releases the shards and the batches.
func (l *Loader) Close() {
	l.ahead.Wait()
	for _, s := range l.slots {
		s.Close()
	}
	l.slots, l.free = nil, nil
	for _, s := range l.crops {
		s.Close()
	}
	for _, s := range slices.Concat(l.targets...) {
		s.Close()
	}
	l.crops, l.targets = nil, nil
}

// Crops is the number of crops that batches are made of.
func (l *Loader) Crops() int {
	if l.split != nil {
		return len(l.split)
	}
	return l.ds.Rows()
}

// Excluded is the number of crops that are left out as [Options].Exclude has it.
func (l *Loader) Excluded() int { return l.excluded }

// Identities is the number of identities that are drawn, and of the crops that have
// one; 0 if batches are drawn uniformly.
func (l *Loader) Identities() (identities, crops int) {
	if l.classes == nil {
		return 0, 0
	}
	return len(l.classes.starts) - 1, len(l.classes.rows)
}

// StepsPerEpoch is the number of whole steps in the crops: of what is drawn uniformly,
// where that is a part, so that every epoch goes through the crops once. The crops left
// over are different ones in every epoch.
func (l *Loader) StepsPerEpoch() int {
	n := l.o.uniform()
	if n == 0 {
		n = l.o.Batch
	}
	return l.Crops() / (n * l.o.Parts)
}

// Embedding copies the plain embedding of a global row, by the teacher at a place, to dst: zeros
// where the teacher gave none.
func (l *Loader) Embedding(teacher, row int, dst []float32) error {
	at := l.ds.Locate(row)
	_, _, err := l.targets[at.Shard][teacher].Row(int(at.Row), false, dst)
	return err
}

// Holds is whether batches are made of a global row among others.
func (l *Loader) Holds(row int) bool {
	if l.split == nil {
		return true
	}
	_, found := slices.BinarySearch(l.split, row)
	return found
}

// CropSize is the side of the crops in pixels.
func (l *Loader) CropSize() int { return l.size }

// prepared is a batch or what went wrong with it.
type prepared struct {
	batch *Batch
	err   error
}

// Run calls use with the batches of the steps from `from` up to, not including, `to`, in
// order, while later ones are prepared. A batch is used again once use returns. It ends
// with the first error of use or of a damaged shard. It also ends with ctx, but between
// two steps: a step that has begun gets all of its batches.
func (l *Loader) Run(ctx context.Context, from, to int, use func(*Batch) error) error {
	quit := make(chan struct{}) // closed when nobody waits for batches any more
	queue := make(chan chan prepared, l.o.Workers)
	var workers sync.WaitGroup
	defer func() {
		close(quit)
		workers.Wait()
		for slot := range queue { // what was prepared and nobody will use
			if p := <-slot; p.err == nil {
				l.giveBack(p.batch)
			}
		}
	}()
	workers.Go(func() {
		defer close(queue)
		for n := from * l.o.Parts; n < to*l.o.Parts; n++ {
			if n%l.o.Parts == 0 && ctx.Err() != nil {
				return
			}
			slot := make(chan prepared, 1)
			select {
			case queue <- slot:
			case <-quit:
				return
			}
			workers.Go(func() {
				b, err := l.prepare(n)
				slot <- prepared{b, err}
			})
		}
	})
	for {
		p, more := l.next(queue)
		if !more {
			return ctx.Err()
		}
		if p.err != nil {
			return p.err
		}
		if p.batch.Part == 0 && ctx.Err() != nil {
			return errors.Join(ctx.Err(), l.giveBack(p.batch))
		}
		if err := errors.Join(use(p.batch), l.giveBack(p.batch)); err != nil {
			return err
		}
	}
}

// next waits for the batch that is next, if there is one more.
func (l *Loader) next(queue <-chan chan prepared) (p prepared, more bool) {
	begun := time.Now()
	defer func() { l.waited += time.Since(begun) }()
	slot, more := <-queue
	if more {
		p = <-slot
	}
	return p, more
}

// Waited is how long the calls of Run so far waited for batches: what the steps would have
// been shorter by if preparing batches took no time. It may be called by what Run calls.
func (l *Loader) Waited() time.Duration { return l.waited }

// take is a batch that nobody has, in memory that may be written.
func (l *Loader) take() (*Batch, error) {
	l.mu.Lock()
	b := &Batch{Layout: l.layout}
	if n := len(l.free); n > 0 {
		b, l.free = l.free[n-1], l.free[:n-1]
	}
	l.mu.Unlock()
	if b.Slot == nil {
		slot, err := l.o.NewSlot(l.layout.bytes)
		if err != nil {
			return nil, fmt.Errorf("memory for a batch of %d crops: %w; a smaller batch takes less, and so do fewer workers", l.layout.N, err)
		}
		l.mu.Lock()
		l.slots = append(l.slots, slot)
		l.mu.Unlock()
		b.Slot = slot
	}
	memory, err := b.Slot.Memory()
	if err != nil {
		return nil, err
	}
	l.layout.in(memory, b)
	return b, nil
}

// giveBack ends the use of a batch.
func (l *Loader) giveBack(b *Batch) error {
	if err := b.Slot.Done(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.free = append(l.free, b)
	return nil
}

// prepare makes batch n of the run, and sends it to where it is used.
func (l *Loader) prepare(n int) (*Batch, error) {
	b, err := l.take()
	if err != nil {
		return nil, err
	}
	b.Step, b.Part = n/l.o.Parts, n%l.o.Parts
	perEpoch := l.StepsPerEpoch() * l.o.Parts
	for i, p := range l.o.Slice.of(l.picks(n/perEpoch, n%perEpoch)) {
		if err := l.fill(b, i, p.row, p.flip); err != nil {
			return nil, err
		}
	}
	return b, b.Slot.Send()
}

// picks are the crops of an epoch's batch: those drawn uniformly, then the others.
func (l *Loader) picks(epoch, batch int) []pick {
	uniform := l.o.uniform()
	picks := make([]pick, 0, l.o.Batch)
	for _, row := range l.rows(epoch, batch*uniform, uniform) {
		picks = append(picks, pick{row, l.o.Flip && mirrored(l.o.Seed, epoch, row)})
	}
	if l.classes == nil {
		return picks
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(picks, l.classes.draw(epoch, batch)...)
}

// fill fills place i of a batch.
func (l *Loader) fill(b *Batch, i, row int, flip bool) error {
	at := l.ds.Locate(row)
	crop, err := l.crops[at.Shard].Crop(int(at.Row))
	if err != nil {
		return err
	}
	area := l.layout.area
	if err := crop.DecodeRGB(l.size, b.Pixels[i*area:(i+1)*area]); err != nil {
		return fmt.Errorf("decode crop %s: %w", crop.Key, err)
	}
	b.Mirrored[i] = 0
	if flip {
		b.Mirrored[i] = 1
	}
	b.Rows[i], b.Labels[i] = int64(row), l.label(crop.Label)
	for k, target := range l.targets[at.Shard] {
		dim := l.layout.dims[k]
		if _, _, err := target.Row(int(at.Row), flip, b.Teachers[k][i*dim:(i+1)*dim]); err != nil {
			return err
		}
	}
	return nil
}

// rows are n of an epoch, from a place on.
func (l *Loader) rows(epoch, at, n int) []int {
	rows := make([]int, 0, n)
	for len(rows) < n {
		window, into := l.window(epoch, at+len(rows))
		rows = append(rows, window[into:min(len(window), into+n-len(rows))]...)
	}
	return rows
}

// window is the window that a place of an epoch is in, and its place there. One that
// is new has the next one read ahead.
func (l *Loader) window(epoch, at int) (rows []int, into int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.order(epoch)
	key := windowKey{epoch, at / o.window}
	rows, ok := l.windows[key]
	if !ok {
		rows = o.fill(key.number)
		for i, place := range rows {
			rows[i] = l.row(place)
		}
		l.windows[key] = rows
		l.forget()
		if key.number+1 < o.windows() {
			l.readAhead(o, key.number+1)
		} else {
			l.readAhead(l.order(epoch+1), 0)
		}
	}
	return rows, at % o.window
}

// order is that of an epoch.
func (l *Loader) order(epoch int) *order {
	if o, ok := l.orders[epoch]; ok {
		return o
	}
	delete(l.orders, epoch-3) // workers span at most an epoch and the next, and look ahead
	o := newOrder(l.Crops(), l.o.Window, l.o.Seed, epoch)
	l.orders[epoch] = o
	return o
}

// forget drops the oldest windows beyond those that batches in flight can be in. If one
// should be asked for again, it is made again.
func (l *Loader) forget() {
	inFlight := (l.o.Workers + 2) * l.o.Batch
	size := l.Crops()
	if l.o.Window > 0 {
		size = min(size, l.o.Window)
	}
	for len(l.windows) > inFlight/size+2 {
		oldest := slices.MinFunc(slices.Collect(maps.Keys(l.windows)), func(a, b windowKey) int {
			return cmp.Or(cmp.Compare(a.epoch, b.epoch), cmp.Compare(a.number, b.number))
		})
		delete(l.windows, oldest)
	}
}

// readAhead has the system read a window's rows, run after run, before they are asked
// for in their random order.
func (l *Loader) readAhead(o *order, number int) {
	if o.blocks == nil {
		return // all rows, which may be more than the memory that caches them
	}
	l.ahead.Go(func() {
		o.spans(number, func(from, n int) {
			for from, end := from, from+n; from < end; {
				from += l.prefetch(from, end)
			}
		})
	})
}

// prefetch has the system read the crops of places from .. end as far as they lie in a
// row, and returns how many those are.
func (l *Loader) prefetch(from, end int) int {
	row := l.row(from)
	at := l.ds.Locate(row)
	end = min(end, from+l.ds.ShardRows(int(at.Shard))-int(at.Row))
	n := 1
	for from+n < end && l.row(from+n) == row+n {
		n++
	}
	l.crops[at.Shard].Prefetch(int(at.Row), n)
	for _, target := range l.targets[at.Shard] {
		target.Prefetch(int(at.Row), n)
	}
	return n
}

// row is the global row of a place among the crops that are trained on.
func (l *Loader) row(place int) int {
	if l.split == nil {
		return place
	}
	return l.split[place]
}

// mirrored draws whether a crop is mirrored in an epoch.
func mirrored(seed uint64, epoch, row int) bool {
	return rand.NewPCG(seed^0x9e3779b97f4a7c15, uint64(epoch)<<40|uint64(row)).Uint64()>>63 == 1
}
