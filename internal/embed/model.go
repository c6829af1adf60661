package embed

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
)

// ErrShape marks a model that does not map one batch of images to one batch of
// embeddings.
var ErrShape = errors.New("not a face embedder")

// defaultBatch is large enough to keep the runtime's threads busy and small enough
// to stay in the cache; on two cores sizes from 8 to 64 differ by a few percent.
const defaultBatch = 16

// Options tune a model.
type Options struct {
	// Preprocess is auto (also ""), arcface, raw or a JSON file.
	Preprocess string
	// Contract, where set, is the preprocessing itself and Preprocess does not count.
	Contract *Preprocess
	// Batch is the number of crops of one run; 0 takes the default. A model with a
	// fixed batch runs at its own.
	Batch int
	// Threads, Provider and Library are those of [ort.Options].
	Threads  int
	Provider string
	Library  string
}

// Model is an opened embedder. One goroutine at a time may run it.
type Model struct {
	path       string
	digest     string
	preprocess Preprocess
	reason     string
	dim, batch int
	fill       *filler
	session    *ort.Session
	input      *ort.Tensor
	output     *ort.Tensor
}

// Open loads a model and finds its preprocessing and sizes. Errors wrap
// onnx.ErrFormat, [ErrPreprocess], [ErrShape], ort.ErrModel or ort.ErrRuntime and
// name the file.
func Open(path string, o Options) (*Model, error) {
	m := &Model{path: path}
	var err error
	if m.digest, err = digestFile(path); err != nil {
		return nil, fmt.Errorf("open model: %w", err)
	}
	parsed, err := onnx.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if o.Contract != nil {
		m.preprocess, m.reason, err = *o.Contract, "given", o.Contract.Validate()
	} else {
		m.preprocess, m.reason, err = ResolvePreprocess(o.Preprocess, parsed)
	}
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	m.fill = newFiller(m.preprocess)
	if m.session, err = ort.Open(path, ort.Options{Threads: o.Threads, Provider: o.Provider, Library: o.Library}); err != nil {
		return nil, err
	}
	if err := m.allocate(o.Batch); err != nil {
		m.Close()
		return nil, fmt.Errorf("model %s: %w", path, err)
	}
	return m, nil
}

// allocate settles the batch and the embedding's length and makes the tensors.
func (m *Model) allocate(batch int) error {
	ins, outs := m.session.Inputs(), m.session.Outputs()
	if len(ins) != 1 || len(outs) != 1 {
		return fmt.Errorf("%w: it has %d inputs and %d outputs, want 1 and 1", ErrShape, len(ins), len(outs))
	}
	want := []int64{-1, 3, int64(m.preprocess.Height), int64(m.preprocess.Width)}
	if m.preprocess.Layout == "NHWC" {
		want = []int64{-1, int64(m.preprocess.Height), int64(m.preprocess.Width), 3}
	}
	got := ins[0].Dims
	if len(got) != 4 || !slices.EqualFunc(got[1:], want[1:], func(g, w int64) bool { return g == w || g == -1 }) {
		return fmt.Errorf("%w: input %s has shape %v, the preprocessing makes %v", ErrShape, ins[0].Name, got, want)
	}
	m.batch = batch
	if m.batch <= 0 {
		m.batch = defaultBatch
	}
	if got[0] > 0 {
		m.batch = int(got[0])
	}
	want[0] = int64(m.batch)
	var err error
	if m.input, err = ort.NewTensor(want...); err != nil {
		return err
	}
	// The first run tells the embedding's length, whatever the model declares.
	first := []*ort.Tensor{nil}
	if err := m.session.Run([]*ort.Tensor{m.input}, first); err != nil {
		return fmt.Errorf("%w: %w", ErrShape, err)
	}
	m.output = first[0]
	dims := m.output.Dims()
	if len(dims) < 2 || dims[0] != int64(m.batch) || int64(len(m.output.Data())) != dims[0]*dims[1] {
		return fmt.Errorf("%w: output %s has shape %v for a batch of %d, want %d rows", ErrShape, outs[0].Name, dims, m.batch, m.batch)
	}
	m.dim = int(dims[1])
	return nil
}

func digestFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Path is the model's file.
func (m *Model) Path() string { return m.path }

// Digest is the SHA-256 of the model's file in hexadecimal.
func (m *Model) Digest() string { return m.digest }

// Dim is the length of an embedding.
func (m *Model) Dim() int { return m.dim }

// Batch is the number of crops of one run.
func (m *Model) Batch() int { return m.batch }

// Preprocess is the contract that crops are put through.
func (m *Model) Preprocess() Preprocess { return m.preprocess }

// Reason says how the contract was found.
func (m *Model) Reason() string { return m.reason }

// Close releases the model.
func (m *Model) Close() {
	for _, t := range []*ort.Tensor{m.input, m.output} {
		if t != nil {
			t.Close()
		}
	}
	m.session.Close()
}

// Fingerprint identifies what an embedding's value depends on: the model's bytes,
// the preprocessing, whether mirror images are embedded, and the stored precision.
// 64 hexadecimal digits.
func (m *Model) Fingerprint(flip bool, dtype string) string {
	text, err := json.Marshal(struct {
		Format     string
		Model      string
		Preprocess Preprocess
		Flip       bool
		DType      string
	}{"facepipe teacher v1", m.digest, m.preprocess, flip, dtype})
	if err != nil {
		panic(err) // plain values always encode
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Embed computes the raw embeddings of n crops of interleaved RGB, mirrored first
// if flip, into dst (n×Dim). The last batch is padded: every run has one shape.
func (m *Model) Embed(n int, pixels []byte, flip bool, dst []float32) error {
	size := m.fill.size
	for from := 0; from < n; from += m.batch {
		rows := min(m.batch, n-from)
		in := m.input.Data()
		for i := range rows {
			m.fill.fill(in[i*size:(i+1)*size], pixels[(from+i)*size:(from+i+1)*size], flip)
		}
		clear(in[rows*size:])
		if err := m.run(); err != nil {
			return err
		}
		copy(dst[from*m.dim:(from+rows)*m.dim], m.output.Data())
	}
	return nil
}

func (m *Model) run() error {
	return m.session.Run([]*ort.Tensor{m.input}, []*ort.Tensor{m.output})
}
