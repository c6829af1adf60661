package embed

import (
	"fmt"
	"strings"
	"time"

	"facepipe/internal/ort"
)

// MaxBatch bounds the crops of one run, as their memory is allocated. A model file or a flag
// that asks for more is mistaken.
const MaxBatch = 4096

// batch is the input and the output of one run of a model. It has fixed shapes and is used
// again and again, on any of some devices.
type batch struct {
	in, out *ort.Tensor
	devices []*Model
	bound   []*ort.Binding // one for each device
}

// newBatch makes the tensors for runs of models at the first one's batch size, and binds them.
// Close it before the models.
func newBatch(devices ...*Model) (*batch, error) {
	m := devices[0]
	in, err := ort.NewTensor(m.preprocess.shape(m.batch)...)
	if err != nil {
		return nil, err
	}
	out, err := ort.NewTensor(m.outShape...)
	if err != nil {
		in.Close()
		return nil, err
	}
	b := &batch{in: in, out: out, devices: devices}
	for _, device := range devices {
		outs := make([]*ort.Tensor, len(device.session.Outputs()))
		outs[device.output] = out
		bound, err := device.session.Bind([]*ort.Tensor{in}, outs)
		if err != nil {
			b.close()
			return nil, err
		}
		b.bound = append(b.bound, bound)
	}
	return b, nil
}

func (b *batch) close() {
	for _, bound := range b.bound {
		bound.Close()
	}
	b.in.Close()
	b.out.Close()
}

// put normalises a crop into row k.
func (b *batch) put(f *filler, k int, rgb []byte, flip bool) {
	f.fill(b.in.Data()[k*f.size:(k+1)*f.size], rgb, flip)
}

// run embeds the first n rows, of size values each. device is a place among those of newBatch.
// The other rows are padding, all zeros.
func (b *batch) run(device, n, size int) error {
	clear(b.in.Data()[n*size:])
	return b.devices[device].busily(b.bound[device].Run)
}

// busily runs the model and adds to the time that it was busy.
func (m *Model) busily(run func() error) error {
	begun := time.Now()
	err := run()
	m.busy.Add(int64(time.Since(begun)))
	return err
}

// row is the embedding of row k, valid until the next run.
func (b *batch) row(k, dim int) []float32 { return b.out.Data()[k*dim : (k+1)*dim : (k+1)*dim] }

// try runs the model once at a batch size. If that gives a row for each crop, the model has
// this size and the row's length from then on, whatever it declares. Of several outputs the
// only one with rows longer than one value is the embedding.
func (m *Model) try(size int) error {
	in, err := ort.NewTensor(m.preprocess.shape(size)...)
	if err != nil {
		return err
	}
	defer in.Close()
	outs := make([]*ort.Tensor, len(m.session.Outputs()))
	if err := m.busily(func() error { return m.session.Run([]*ort.Tensor{in}, outs) }); err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	var found []int
	for i, out := range outs {
		defer out.Close()
		if dim, ok := rowLength(out.Dims(), size); ok && (dim > 1 || len(outs) == 1) {
			found = append(found, i)
		}
	}
	if len(found) != 1 {
		return notRows(outs, m.session.Outputs(), size)
	}
	m.output, m.outShape, m.batch = found[0], outs[found[0]].Dims(), size
	m.dim, _ = rowLength(m.outShape, size)
	return nil
}

// errOneRow is [ErrShape] of a model that gives one row for a whole batch.
var errOneRow = fmt.Errorf("%w", ErrShape)

// notRows says that not exactly one output has a row for each crop.
func notRows(outs []*ort.Tensor, infos []ort.Info, size int) error {
	kind, want := ErrShape, fmt.Sprintf("%d rows of an embedding each", size)
	var have []string
	for i, out := range outs {
		have = append(have, fmt.Sprintf("output %s has shape %v", infos[i].Name, out.Dims()))
	}
	switch {
	case len(outs) > 1:
		want = "exactly one with " + want
	case len(outs[0].Dims()) == 1:
		kind = errOneRow
	}
	return fmt.Errorf("%w: %s for a batch of %d, want %s", kind, strings.Join(have, ", "), size, want)
}

// rowLength is the length of an embedding in an output for so many crops: a row for each, with
// ones anywhere in the shape. Of a single crop the row may come without a batch.
func rowLength(shape []int64, size int) (length int, ok bool) {
	if len(shape) == 1 && size == 1 {
		return int(shape[0]), shape[0] > 1
	}
	if len(shape) < 2 || shape[0] != int64(size) {
		return 0, false
	}
	length = 1
	for _, d := range shape[1:] {
		if d < 1 || d > 1 && length > 1 {
			return 0, false
		}
		length *= int(d)
	}
	return length, true
}
