package embed

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
	"facepipe/internal/regular"
)

var (
	// ErrShape marks a model that does not map one batch of crops to one batch of
	// embeddings, or not crops of the preprocessing's shape.
	ErrShape = errors.New("not a face embedder")
	// ErrWeights marks a model whose file of weights cannot be read.
	ErrWeights = errors.New("weights are missing")
	// ErrReplaced marks a model whose file was replaced while it was opened.
	ErrReplaced = errors.New("the file was replaced while it was opened")
)

// The default numbers of crops of one run. On processors a small network's activations
// should stay in the cache: measured on two cores with a MobileFaceNet, a crop costs
// least at 4 and 8 and a tenth more at 32. Accelerators want more work at a time.
const (
	cpuBatch         = 8
	acceleratorBatch = 64
)

// defaultBatch is the number of crops of one run with a provider.
func defaultBatch(provider string) int {
	if provider == "" || provider == "cpu" {
		return cpuBatch
	}
	return acceleratorBatch
}

// Options tune a model.
type Options struct {
	// Preprocess is auto (also ""), arcface, raw or a JSON file; see
	// [ResolvePreprocess].
	Preprocess string
	// Contract, if set, is the preprocessing itself, and Preprocess does not count.
	Contract *Preprocess
	// Output is the name of the output that is the embedding; "" takes the only one with an
	// embedding's shape.
	Output string
	// Norm is, with Contract, the name of the output that is the norm, "" for none. Without
	// Contract it is found; see [Outputs].
	Norm string
	// Crop is the side in pixels of the square crops to embed; 0 stands for crops of the
	// model's size. Those of another size are resampled.
	Crop int
	// Batch is the number of crops of one run, up to [MaxBatch]; 0 takes the default, and
	// [AutoBatch] the fastest. A model with a fixed batch runs at its own. A model that claims
	// to take any batch but fails runs at 1.
	Batch int
	// Runtime says what runs the model.
	Runtime ort.Options

	// In place of those of the provider, for tests.
	crossing []onnx.ElemType
	flights  int
}

// Model is an opened embedder. One goroutine at a time may run it.
type Model struct {
	path       string
	external   []string // files of weights beside it
	digest     string
	resolved   Resolved
	input      onnx.ValueInfo // in the file, if it is the only one
	coarse     bool           // it computes in less than float32
	dim, batch int
	// only says that the model, or the provider, has no other batch.
	only bool
	// batchReason says why the batch is 1, if crops of a larger one depend on each other.
	batchReason string
	notes       []string
	outputs     outputs
	shapes      [][]int64 // of the outputs
	fill        *filler
	form        onnx.Form // of the session's inputs and outputs
	session     *ort.Session
	crop        int        // that of the options
	flights     int        // runs at a time that keep the device busy
	busy        *stopwatch // how long the session ran, under whatever contract
	own         *batch     // of Embed, made when it is first called, with the canvas
	canvas      *canvas
}

// Open loads a model and finds its preprocessing and sizes. The context ends a wait for another process;
// see [ort.Open]. Errors name the file and
// wrap os.ErrNotExist, onnx.ErrFormat, [ErrPreprocess], [ErrShape], [ErrRows], [ErrWeights], [ErrReplaced],
// ort.ErrModel or ort.ErrRuntime.
func Open(ctx context.Context, path string, o Options) (*Model, error) {
	parsed, err := onnx.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	m := &Model{path: path, busy: new(stopwatch), outputs: outputsOf(&parsed.Graph, o.Output)}
	if err := m.identify(parsed, o); err != nil {
		return nil, fmt.Errorf("open model %s: %w", path, err)
	}
	o.Runtime.Crossing = o.crossing
	if o.crossing == nil {
		o.Runtime.Crossing = ort.Crossing(o.Runtime.Provider)
	}
	m.form.Halves = slices.Contains(o.Runtime.Crossing, onnx.Float16)
	if slices.Contains(o.Runtime.Crossing, onnx.Uint8) && parsed.TakesPixels() {
		p := m.resolved.Preprocess
		m.form.Pixels = &onnx.Pixels{Height: int64(p.Height), Width: int64(p.Width), Planar: p.Layout == "NCHW"}
	}
	m.flights = cmp.Or(o.flights, ort.Flights(o.Runtime.Provider))
	o.Runtime.Digest, o.Runtime.External = m.digest, m.external
	if err := m.start(ctx, parsed, o); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.unchanged(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// start opens the session and finds the sizes.
func (m *Model) start(ctx context.Context, parsed *onnx.Model, o Options) (err error) {
	if o.Runtime.Model, err = m.rewritten(&parsed.Graph); err != nil {
		return fmt.Errorf("open model %s: %w", m.path, err)
	}
	batch := m.wantedBatch(o)
	if batch > 0 {
		o.Runtime.Shape = m.resolved.Preprocess.shape(batch)
	}
	if m.session, err = ort.Open(ctx, m.path, o.Runtime); err != nil {
		return err
	}
	err = m.measure(ctx, batch, o.Runtime)
	if err == nil {
		err = m.takeNorm(o)
	}
	if err != nil {
		return fmt.Errorf("open model %s: %w", m.path, err)
	}
	m.tryFlights()
	if note := m.outputs.note(); note != "" {
		m.notes = append(m.notes, note)
	}
	return nil
}

// wantedBatch is the batch to open the model for.
func (m *Model) wantedBatch(o Options) int {
	batch := cmp.Or(o.Batch, defaultBatch(o.Runtime.Provider))
	if builds := ort.Builds(o.Runtime.Provider); builds && batch == AutoBatch {
		batch = defaultBatch(o.Runtime.Provider)
		m.notes = append(m.notes, fmt.Sprintf("a batch of %d is taken and none measured, as %s builds for minutes for each: --batch N names another", batch, o.Runtime.Provider))
	} else if dims := m.input.Dims; builds && len(dims) > 0 && dims[0].Size > 0 {
		batch = int(dims[0].Size)
	}
	return batch
}

// resize leaves the model at another batch, for which a provider that builds opens it anew.
func (m *Model) resize(ctx context.Context, batch int, o ort.Options) (err error) {
	if ort.Builds(o.Provider) {
		m.session.Close()
		o.Shape = m.resolved.Preprocess.shape(batch)
		if m.session, err = ort.Open(ctx, m.path, o); err != nil {
			m.session = nil
			return err
		}
	}
	return m.try(batch)
}

// rewritten are bytes to run instead of the file's, nil if these do. The file's inputs or
// outputs may have another precision, or an exporter has declared the batch that it traced for
// an output: the runtime takes that for true, and refuses the shape that it computes itself.
func (m *Model) rewritten(g *onnx.Graph) ([]byte, error) {
	for _, v := range slices.Concat(g.Images(), g.AsFloats()) {
		if stays := m.form.Pixels != nil && v.Name == m.input.Name || m.form.Halves && v.Type == onnx.Float16; v.Type != onnx.Float32 && !stays {
			m.notes = append(m.notes, fmt.Sprintf("the model's %s is %v and cast", v.Name, v.Type))
		}
	}
	if len(m.outputs.names) == 0 {
		out := g.Outputs[0]
		return nil, fmt.Errorf("%w: its output %s is %v, which is no embedding unless a QuantizeLinear node tells the scale; export it with an output in floating point", ErrShape, out.Name, out.Type)
	}
	if m.form.Has(g) && !declaresOtherBatch(g) {
		return nil, nil
	}
	data, err := regular.Read(m.path, onnx.MaxBytes)
	if err != nil {
		return nil, err
	}
	return m.form.Rewrite(data)
}

// declaresOtherBatch says that an output is declared with a batch that is not the input's.
func declaresOtherBatch(g *onnx.Graph) bool {
	image, single := onlyImage(g)
	if !single || len(image.Dims) == 0 {
		return false
	}
	return slices.ContainsFunc(g.Outputs, func(out onnx.ValueInfo) bool {
		return len(out.Dims) > 0 && out.Dims[0].Size > 0 && out.Dims[0].Size != image.Dims[0].Size
	})
}

// unchanged is [ErrReplaced] if the file has other bytes than those of the model's digest. The
// runtime reads the file after the digest was taken, and some providers take minutes.
func (m *Model) unchanged() error {
	now, err := modelDigest(m.path, m.external)
	if err == nil && now != m.digest {
		err = fmt.Errorf("%w: its SHA-256 was %.12s… and is %.12s…; run the same command again", ErrReplaced, m.digest, now)
	}
	if err != nil {
		return fmt.Errorf("open model %s: %w", m.path, err)
	}
	return nil
}

// identify finds what the file alone says: its digest and its preprocessing.
func (m *Model) identify(parsed *onnx.Model, o Options) (err error) {
	if o.Contract != nil {
		m.resolved, err = Resolved{Preprocess: *o.Contract, Origin: Chosen, Reason: "given"}, o.Contract.Validate()
	} else {
		m.resolved, err = ResolvePreprocess(o.Preprocess, parsed)
	}
	if image, single := onlyImage(&parsed.Graph); err == nil && single {
		m.input = image
		err = m.resolved.fitInput(image)
	}
	if err == nil {
		err = m.adaptTo(o)
	}
	if err != nil {
		return err
	}
	m.fill, m.coarse = newFiller(m.resolved.Preprocess, m.crop), isCoarse(&parsed.Graph)
	m.external = append([]string{}, parsed.ExternalFiles()...) // not nil: they are known
	m.digest, err = modelDigest(m.path, m.external)
	return err
}

// adaptTo makes the contract one for the crops of the options.
func (m *Model) adaptTo(o Options) (err error) {
	if err := m.resolved.Preprocess.Validate(); err != nil {
		return err
	}
	var note string
	if m.resolved.Preprocess, note, err = m.resolved.Preprocess.resampled(o.Crop, o.Contract != nil); note != "" {
		m.notes = append(m.notes, note)
	}
	m.crop = o.Crop
	return err
}

// measure finds the batch and the embedding's length. It may open the session anew.
func (m *Model) measure(ctx context.Context, batch int, o ort.Options) error {
	ins, outs := m.session.Inputs(), m.session.Outputs()
	if m.form.Pixels != nil { // what stands for the image fits any shape that it has itself
		ins = []ort.Info{{Name: m.input.Name, Dims: sizes(m.input.Dims)}}
	}
	if len(ins) != 1 || len(outs) == 0 {
		return fmt.Errorf("%w: it has %d inputs and %d outputs in floating point, want 1 and 1", ErrShape, len(ins), len(outs))
	}
	declared, want := ins[0].Dims, m.resolved.Preprocess.shape(-1)
	if len(declared) != 4 || !slices.EqualFunc(declared[1:], want[1:], func(d, w int64) bool { return d == w || d == -1 }) {
		return fmt.Errorf("%w: input %s has shape %v and the preprocessing (%v) makes %v, where -1 is any size; a preprocessing file may name another size or layout",
			ErrShape, ins[0].Name, declared, m.resolved.Preprocess, want)
	}
	fixed := declared[0] > 0
	m.only = fixed || ort.Builds(o.Provider)
	if fixed {
		batch = int(declared[0])
	}
	if err := m.findBatch(ctx, batch, fixed, o); err != nil {
		return err
	}
	return m.checkRows(ctx, o, fixed)
}

// sizes are those of dimensions, -1 where any fits.
func sizes(dims []onnx.Dim) []int64 {
	list := make([]int64, len(dims))
	for i, d := range dims {
		if list[i] = d.Size; d.Size <= 0 {
			list[i] = -1
		}
	}
	return list
}

// findBatch leaves the model at a batch that it runs at, the one asked for if it can.
func (m *Model) findBatch(ctx context.Context, batch int, fixed bool, o ort.Options) error {
	if batch == AutoBatch {
		return m.fastestBatch(ctx, o)
	}
	if batch < 1 || batch > MaxBatch {
		return fmt.Errorf("a batch of %d crops is not within 1 and %d", batch, MaxBatch)
	}
	err := m.try(batch)
	// Some exporters declare any batch for a graph that was traced with one crop.
	if err != nil && !fixed && batch > 1 && !errors.Is(err, errOneRow) && m.resize(ctx, 1, o) == nil {
		m.notes = append(m.notes, fmt.Sprintf("a batch of 1 is taken, as one of %d fails: %v", batch, err))
		return nil
	}
	return err
}

// Under is the same model under another contract of the same size and layout. Do not close it,
// and use it neither at the same time as m nor after m is closed.
func (m *Model) Under(p Preprocess) *Model {
	other := *m
	other.own = nil
	other.Adopt(p, "given")
	return &other
}

// Adopt makes p, of the same size and layout, the model's own contract, for a reason in words.
func (m *Model) Adopt(p Preprocess, reason string) {
	p.Resample = m.resolved.Resample
	m.resolved, m.fill = Resolved{Preprocess: p, Origin: Chosen, Reason: reason}, newFiller(p, m.crop)
}

// Path is the model's file.
func (m *Model) Path() string { return m.path }

// Digest is the SHA-256 of the model's file in hexadecimal. It covers files of weights beside
// the model, too.
func (m *Model) Digest() string { return m.digest }

// Dim is the length of an embedding.
func (m *Model) Dim() int { return m.dim }

// Batch is the number of crops of one run.
func (m *Model) Batch() int { return m.batch }

// BatchReason says why crops are run one by one, if those of a larger batch depend on each
// other; "" otherwise.
func (m *Model) BatchReason() string { return m.batchReason }

// BatchRemedy says what to do about a model that makes nothing of use of single crops, if its
// batch was made 1 for [Model.BatchReason]; "" otherwise.
func (m *Model) BatchRemedy() string {
	if m.batchReason == "" {
		return ""
	}
	return m.batchReason + "; a model that takes statistics over the batch, as BatchNormalization in training mode does, makes nothing of a single crop: " + inEvaluationMode
}

const inEvaluationMode = "export it in evaluation mode (net.eval() in PyTorch)"

// Busy is how long the model has run since it was opened, with trying out batches and with
// runs by way of [Model.Under]. Two runs at the same time count once.
func (m *Model) Busy() time.Duration { return m.busy.time() }

// CropBytes is the size of a crop's pixels, as they are given to the model.
func (m *Model) CropBytes() int { return m.fill.cropBytes() }

// Preprocess is the contract.
func (m *Model) Preprocess() Preprocess { return m.resolved.Preprocess }

// Reason says how the contract was found.
func (m *Model) Reason() string { return m.resolved.Reason }

// Origin says how far the contract can be relied on.
func (m *Model) Origin() Origin { return m.resolved.Origin }

// Notes say what a user should know about how the model was opened.
func (m *Model) Notes() []string { return slices.Concat(m.session.Notes(), m.notes) }

// Outputs says what is used of the model's outputs.
func (m *Model) Outputs() Outputs { return m.outputs.Outputs }

// Close releases the model.
func (m *Model) Close() {
	if m.own != nil {
		m.own.close()
	}
	if m.session != nil {
		m.session.Close()
	}
}

// Fingerprint identifies what an embedding's value depends on: the model's bytes, the
// preprocessing, the outputs that are used, whether mirror images are embedded, the stored
// precision, and to what the model rounds while it computes. It has 64 hexadecimal digits.
func (m *Model) Fingerprint(flip bool, dtype string, rounding Rounding) string {
	return Fingerprint(m.digest, m.resolved.Preprocess, m.Outputs(), flip, dtype, rounding)
}

// Rounding says what a model computes in, if not in float32; see [ort.Options].
type Rounding struct {
	Half bool `json:",omitempty"`
	TF32 bool `json:",omitempty"`
}

// RoundingOf is that of a runtime's options.
func RoundingOf(o ort.Options) Rounding { return Rounding{Half: o.Half, TF32: o.TF32} }

// Fingerprint is [Model.Fingerprint] of the model of a digest.
func Fingerprint(model string, preprocess Preprocess, outputs Outputs, flip bool, dtype string, rounding Rounding) string {
	text, err := json.Marshal(struct {
		Format     string
		Model      string
		Preprocess Preprocess
		Flip       bool
		DType      string
		Rounding
		Outputs
	}{"facepipe teacher v1", model, preprocess, flip, dtype, rounding, outputs})
	if err != nil {
		panic(err) // plain values always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Embed computes the raw embeddings of n crops, [Model.CropBytes] each of interleaved 8-bit RGB,
// mirrored left to right first if flip, into dst, n×Dim. Values that are not finite are passed
// on. It panics if a slice is too short.
func (m *Model) Embed(n int, pixels []byte, flip bool, dst []float32) error {
	if m.own == nil {
		var err error
		if m.own, err = newBatch(m); err != nil {
			return err
		}
		m.canvas = m.fill.newCanvas()
	}
	size := m.CropBytes()
	for from := 0; from < n; from += m.batch {
		rows := min(m.batch, n-from)
		for k := range rows {
			copy(m.canvas.crop, pixels[(from+k)*size:(from+k+1)*size])
			m.own.put(m.fill, k, m.fill.pixels(m.canvas), flip)
		}
		if err := m.own.run(0, rows); err != nil {
			return err
		}
		copy(dst[from*m.dim:(from+rows)*m.dim], m.own.rows)
	}
	return nil
}
