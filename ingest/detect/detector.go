package detect

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"facepipe/internal/filedigest"
	"facepipe/internal/imgcodec"
	"facepipe/internal/ort"
)

// Options tune a [Detector].
type Options struct {
	// MinScore is the confidence, 0 to 1, from which a face counts; 0 means the
	// family's own: 0.5 for SCRFD, 0.6 for YuNet.
	MinScore float64
	// Size is the longest side, in pixels, of the canvas of a model that takes any input
	// size; 0 means [DefaultSize]. Smaller photographs get a smaller canvas. A model of fixed
	// input size ignores it.
	Size int
	// Library is the path of ONNX Runtime, "" to look it up.
	Library string
}

// DefaultSize is the size at which both families' authors evaluate them.
const DefaultSize = 640

// sizeStep is what the sides of a free canvas are multiples of. That makes few enough sizes for
// the runtime to reuse its buffers.
const sizeStep = 64

// looks are the shrinks that are tried until one finds a face. The first is the photograph as
// it is. A face that fills a large frame outgrows the models' anchors and has no background to
// stand out from: of UTKFace chips enlarged to 500 pixels SCRFD finds next to none at full
// size, and nearly all at half size in the middle of black. The third look finds a few more,
// such as faces turned far to the side.
var looks = []float64{1, 0.5, 0.85}

// Detector is a face detector. Detect may be called from any number of goroutines.
type Detector struct {
	family   family
	session  *ort.Session
	digest   string
	minScore float64
	size     canvasSize
	inputs   tensorPool
}

// Open loads the detector that spec names and tries it on an empty canvas. So a model of
// another family is refused here, by name, and not at the first photograph.
func Open(spec Spec, o Options) (*Detector, error) {
	d, err := open(spec, o)
	if err != nil {
		return nil, fmt.Errorf("open detector %s=%s: %w", spec.Kind, spec.File, err)
	}
	return d, nil
}

func open(spec Spec, o Options) (*Detector, error) {
	f, err := spec.family()
	if err != nil {
		return nil, err
	}
	if o.MinScore < 0 || o.MinScore > 1 || o.Size < 0 {
		return nil, fmt.Errorf("a score of %v and a size of %d are out of range", o.MinScore, o.Size)
	}
	// Workers take a photograph each. Threads inside one run would only compete with them.
	session, err := ort.Open(context.Background(), spec.File, ort.Options{Threads: 1, Library: o.Library})
	if err != nil {
		return nil, err
	}
	sum, err := filedigest.Of(spec.File) // only now, as a file that is no model may be of any size
	if err != nil {
		return nil, errors.Join(err, session.Close())
	}
	d := &Detector{family: f, session: session, digest: sum, minScore: o.MinScore}
	if d.minScore == 0 {
		d.minScore = f.defaultMinScore
	}
	d.size, err = inputSize(session.Inputs(), o.Size)
	if err == nil {
		err = d.try()
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// inputSize reads the canvas a model demands from its input, (1, 3, height, width).
func inputSize(inputs []ort.Info, limit int) (canvasSize, error) {
	if len(inputs) != 1 || len(inputs[0].Dims) != 4 {
		return canvasSize{}, fmt.Errorf("%w: its inputs %v are not one batch of images", errLayout, inputs)
	}
	dims := inputs[0].Dims
	batch, channels, h, w := dims[0], dims[1], dims[2], dims[3]
	const free = -1
	if batch != 1 && batch != free || channels != 3 && channels != free || (h == free) != (w == free) {
		return canvasSize{}, fmt.Errorf("%w: its input has shape %v, want (1, 3, height, width)", errLayout, dims)
	}
	if h != free {
		return canvasSize{fixedW: int(w), fixedH: int(h)}, nil
	}
	if limit == 0 {
		limit = DefaultSize
	}
	return canvasSize{limit: limit, step: sizeStep}, nil
}

// try runs the model once and learns how coarse its levels are.
func (d *Detector) try() error {
	p := d.size.place(minSide, minSide, 1)
	return d.look(imgcodec.NewImage(p.photoW, p.photoH), p, func(outputs []tensor) error {
		ls, err := levels(outputs, p.w, p.h, d.family.scores)
		if err != nil {
			return err
		}
		if coarsest := ls[len(ls)-1].stride; d.size.step > 0 {
			d.size.step = max(d.size.step, coarsest)
		}
		return nil
	})
}

// Shrink is by how much, at least 1, a photograph of w by h pixels is made smaller
// before the model looks at it.
func (d *Detector) Shrink(w, h int) float64 { return 1 / d.size.fit(w, h) }

// Detect finds the faces of a photograph, best score first; none is no error.
func (d *Detector) Detect(photo *imgcodec.Image) ([]Face, error) {
	for _, s := range looks {
		p := d.size.place(photo.W, photo.H, s)
		var faces []Face
		err := d.look(shrink(photo, p.photoW, p.photoH), p, func(outputs []tensor) (err error) {
			faces, err = d.family.faces(outputs, p.w, p.h, d.minScore)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("detect faces: %w", err)
		}
		if len(faces) > 0 {
			for i, f := range faces {
				faces[i] = p.toPhoto(f, photo.W, photo.H)
			}
			return faces, nil
		}
	}
	return nil, nil
}

// look runs the model on a photograph, which already has the size that p gives it. read gets
// the outputs, which are valid until it returns.
func (d *Detector) look(photo *imgcodec.Image, p placement, read func([]tensor) error) error {
	input, err := d.inputs.get(p.w, p.h)
	if err != nil {
		return err
	}
	defer d.inputs.put(input)
	d.family.input.paint(input.Data(), p, photo)
	results := make([]*ort.Tensor, len(d.session.Outputs()))
	if err := d.session.Run([]*ort.Tensor{input}, results); err != nil {
		return err
	}
	outputs := make([]tensor, len(results))
	for i, r := range results {
		outputs[i] = tensor{name: d.session.Outputs()[i].Name, dims: r.Dims(), data: r.Data()}
	}
	err = read(outputs)
	for _, r := range results {
		err = errors.Join(err, r.Close())
	}
	return err
}

// Name describes the detector and, besides the model, what its results depend on.
func (d *Detector) Name() string {
	size := fmt.Sprintf("up to %d", d.size.limit)
	if d.size.fixedW != 0 {
		size = fmt.Sprintf("%dx%d", d.size.fixedW, d.size.fixedH)
	}
	return fmt.Sprintf("%s, input %s, score from %g", d.family.kind, size, d.minScore)
}

// Digest is the SHA-256 of the model file, in hexadecimal.
func (d *Detector) Digest() string { return d.digest }

// Close releases the model. No Detect may be running.
func (d *Detector) Close() error {
	return errors.Join(d.inputs.close(), d.session.Close())
}

// tensorPool keeps input tensors for reuse. Of a size there are never more than photographs of
// it were looked at together.
type tensorPool struct {
	mu   sync.Mutex
	idle map[[2]int][]*ort.Tensor
}

func (p *tensorPool) get(w, h int) (*ort.Tensor, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	size := [2]int{w, h}
	if n := len(p.idle[size]); n > 0 {
		t := p.idle[size][n-1]
		p.idle[size] = p.idle[size][:n-1]
		return t, nil
	}
	return ort.NewTensor(1, 3, int64(h), int64(w))
}

func (p *tensorPool) put(t *ort.Tensor) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.idle == nil {
		p.idle = map[[2]int][]*ort.Tensor{}
	}
	dims := t.Dims()
	size := [2]int{int(dims[3]), int(dims[2])}
	p.idle[size] = append(p.idle[size], t)
}

func (p *tensorPool) close() error {
	var err error
	for _, list := range p.idle {
		for _, t := range list {
			err = errors.Join(err, t.Close())
		}
	}
	return err
}
