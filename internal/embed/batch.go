package embed

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
)

// MaxBatch bounds the crops of one run, as their memory is allocated. A model file or a flag
// that asks for more is mistaken.
const MaxBatch = 4096

// batch is the input and the output of one run of a model. It has fixed shapes and is used
// again and again, on any of some devices.
type batch struct {
	in      *input
	out     *ort.Tensor
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
		in.close()
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
		bound, err := device.session.Bind(in.tensors(), outs)
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
	b.in.close()
	b.out.Close()
	if b.norm != nil {
		b.norm.Close()
	}
}

// input is what a model takes: the image, and the contract's numbers where these are inputs, too.
type input struct {
	image     *ort.Tensor
	mean, std *ort.Tensor // nil if the image is normalised
}

// newInput makes the tensors for so many crops.
func (m *Model) newInput(crops int) (in *input, err error) {
	in = &input{}
	if m.form.Pixels == nil {
		in.image, err = m.session.NewTensor(m.session.Inputs()[0].Type, m.resolved.Preprocess.shape(crops)...)
		return in, err
	}
	p := m.resolved.Preprocess
	for _, t := range []struct {
		to   **ort.Tensor
		kind onnx.ElemType
		dims []int64
	}{{&in.image, onnx.Uint8, []int64{int64(crops), int64(p.Height), int64(p.Width), 3}}, {&in.mean, onnx.Float32, []int64{3}}, {&in.std, onnx.Float32, []int64{3}}} {
		if *t.to, err = m.session.NewTensor(t.kind, t.dims...); err != nil {
			in.close()
			return nil, err
		}
	}
	in.take(p)
	return in, nil
}

// take has the image be normalised as a contract says.
func (in *input) take(p Preprocess) {
	if in.mean != nil {
		copy(in.mean.Data(), p.Mean[:])
		copy(in.std.Data(), p.Std[:])
	}
}

// tensors are those of the session's inputs, in its order.
func (in *input) tensors() []*ort.Tensor {
	if in.mean == nil {
		return []*ort.Tensor{in.image}
	}
	return []*ort.Tensor{in.image, in.mean, in.std}
}

func (in *input) close() {
	for _, t := range in.tensors() {
		if t != nil {
			t.Close()
		}
	}
}

// newOutput is a tensor for the output at a place.
func (m *Model) newOutput(place int) (*ort.Tensor, error) {
	return m.session.NewTensor(m.session.Outputs()[place].Type, m.shapes[place]...)
}

// put writes a crop into row k: normalised, unless the model does that itself.
func (b *batch) put(f *filler, k int, rgb []byte, flip bool) { f.put(b.in.image, k, rgb, flip) }

// run embeds the first n rows. device is a place among those of newBatch.
// The other rows are padding, all zeros.
func (b *batch) run(device, n int) error {
	padding := b.in.image.Bytes()
	clear(padding[n*(len(padding)/int(b.in.image.Dims()[0])):])
	b.in.take(b.devices[0].resolved.Preprocess)
	if err := b.devices[device].busy.run(b.bound[device].Run); err != nil {
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

// stopwatch measures how long anything ran, whatever else ran at the same time.
type stopwatch struct {
	mu      sync.Mutex
	running int
	begun   time.Time // if anything runs
	total   time.Duration
}

func (w *stopwatch) run(f func() error) error {
	w.add(1)
	defer w.add(-1)
	return f()
}

func (w *stopwatch) add(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch now := time.Now(); {
	case w.running == 0:
		w.begun = now
	case w.running+n == 0:
		w.total += now.Sub(w.begun)
	}
	w.running += n
}

// time is the sum of what has ended.
func (w *stopwatch) time() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.total
}

// tryFlights runs as many batches at a time as the device is to have. If that fails, perhaps for
// lack of memory, it gets them one by one.
func (m *Model) tryFlights() {
	if m.flights == 1 {
		return
	}
	failed := make([]error, m.flights)
	var runs sync.WaitGroup
	for i := range failed {
		b, err := newBatch(m)
		if err != nil {
			failed[i] = err
			continue
		}
		defer b.close()
		runs.Go(func() { failed[i] = b.run(0, m.batch) })
	}
	runs.Wait()
	if err := cmp.Or(failed...); err != nil {
		m.notes = append(m.notes, fmt.Sprintf("one run at a time, as %d fail: %v", m.flights, err))
		m.flights = 1
	}
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
	defer in.close()
	outs := make([]*ort.Tensor, len(m.session.Outputs()))
	if err := m.busy.run(func() error { return m.session.Run(in.tensors(), outs) }); err != nil {
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
