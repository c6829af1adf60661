package embed

import (
	"fmt"
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
	norm    *ort.Tensor // that multiplies the rows of out; nil without
	rows    []float32   // of out, after a run
	norms   []float32
	devices []*Model
	bound   []*ort.Binding // one for each device
}

// newBatch makes the tensors for runs of models at the first one's batch size, and binds them.
// Close it before the models.
func newBatch(devices ...*Model) (*batch, error) {
	m := devices[0]
	in, err := m.newInput(m.batch)
	if err != nil {
		return nil, err
	}
	out, err := m.newOutput(m.outputs.embedding)
	if err != nil {
		in.Close()
		return nil, err
	}
	b := &batch{in: in, out: out, devices: devices}
	if m.outputs.norm != noNorm {
		if b.norm, err = m.newOutput(m.outputs.norm); err != nil {
			b.close()
			return nil, err
		}
	}
	for _, device := range devices {
		outs := make([]*ort.Tensor, len(device.session.Outputs()))
		outs[device.outputs.embedding] = out
		if b.norm != nil {
			outs[m.outputs.norm] = b.norm
		}
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
	if b.norm != nil {
		b.norm.Close()
	}
}

// newInput is a tensor for the model's input, for so many crops.
func (m *Model) newInput(crops int) (*ort.Tensor, error) {
	return ort.NewTensorOf(m.session.Inputs()[0].Type, m.resolved.Preprocess.shape(crops)...)
}

// newOutput is a tensor for the output at a place.
func (m *Model) newOutput(place int) (*ort.Tensor, error) {
	return ort.NewTensorOf(m.session.Outputs()[place].Type, m.shapes[place]...)
}

// put normalises a crop into row k.
func (b *batch) put(f *filler, k int, rgb []byte, flip bool) { f.put(b.in, k, rgb, flip) }

// run embeds the first n rows. device is a place among those of newBatch.
// The other rows are padding, all zeros.
func (b *batch) run(device, n int) error {
	padding := b.in.Bytes()
	clear(padding[n*(len(padding)/int(b.in.Dims()[0])):])
	if err := b.devices[device].busily(b.bound[device].Run); err != nil {
		return err
	}
	b.rows = b.out.Floats(b.rows)
	if b.norm == nil {
		return nil
	}
	dim := b.devices[device].dim
	b.norms = b.norm.Floats(b.norms)
	for k, norm := range b.norms[:n] {
		for i := range b.row(k, dim) {
			b.rows[k*dim+i] *= norm
		}
	}
	return nil
}

// busily runs the model and adds to the time that it was busy.
func (m *Model) busily(run func() error) error {
	begun := time.Now()
	err := run()
	m.busy.Add(int64(time.Since(begun)))
	return err
}

// row is the embedding of row k, valid until the next run.
func (b *batch) row(k, dim int) []float32 { return b.rows[k*dim : (k+1)*dim : (k+1)*dim] }

// try runs the model once at a batch size. If that gives a row for each crop, the model has
// this size and the row's length from then on, whatever it declares.
func (m *Model) try(size int) error {
	in, err := m.newInput(size)
	if err != nil {
		return err
	}
	defer in.Close()
	outs := make([]*ort.Tensor, len(m.session.Outputs()))
	if err := m.busily(func() error { return m.session.Run([]*ort.Tensor{in}, outs) }); err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	var shapes [][]int64
	for _, out := range outs {
		defer out.Close()
		shapes = append(shapes, out.Dims())
	}
	if err := m.outputs.choose(shapes, size); err != nil {
		return err
	}
	m.shapes, m.batch = shapes, size
	m.dim, _ = rowLength(shapes[m.outputs.embedding], size)
	return nil
}
