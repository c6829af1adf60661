package embed

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"facepipe/internal/onnx"
	"facepipe/internal/ort"
)

// ErrRows marks a model whose embedding of a crop depends on chance, or on the other crops of
// a batch that cannot be made smaller.
var ErrRows = errors.New("embeddings that cannot be relied on")

// The differences between two embeddings of one crop, as a share of their norm, that
// arithmetic explains: another batch may add up in another order.
const (
	float32Noise = 1e-3
	coarseNoise  = 1e-2 // of accelerators, and of graphs that round more than float32 does
	halfNoise    = 3e-2
)

// noise is the difference that is no fault with a provider.
func (m *Model) noise(o ort.Options) float64 {
	switch {
	case o.Half:
		return halfNoise
	case m.coarse || !onProcessor(o):
		return coarseNoise
	}
	return float32Noise
}

func onProcessor(o ort.Options) bool { return o.Provider == "" || o.Provider == ort.CPU }

// isCoarse says that a graph computes in less than float32.
func isCoarse(g *onnx.Graph) bool {
	return slices.ContainsFunc(g.Initializers, func(t onnx.Tensor) bool { return t.Type == onnx.Float16 }) ||
		slices.ContainsFunc(g.Nodes, func(n onnx.Node) bool {
			return strings.Contains(n.OpType, "Quantize") || strings.HasPrefix(n.OpType, "QLinear") || strings.HasSuffix(n.OpType, "Integer")
		})
}

// checkRows makes the batch 1 if the embedding of a crop depends on the others of its batch.
// [ErrRows] if the batch is fixed, a batch of 1 fails, or the embedding depends on chance.
func (m *Model) checkRows(ctx context.Context, o ort.Options, fixed bool) error {
	probes, noise := probeCrops(m.resolved.Preprocess), m.noise(o)
	if m.batch == 1 {
		return m.repeats(probes, noise)
	}
	// Some providers take minutes for a batch of another size.
	how, err := m.mixes(probes, noise, !fixed && onProcessor(o))
	if err != nil || how == "" {
		return err
	}
	if err := m.repeats(probes, noise); err != nil {
		return err
	}
	why := fmt.Sprintf("a crop's embedding depends on the other crops of a batch of %d: %s", m.batch, how)
	if fixed {
		return fmt.Errorf("%w: %s, and the model has no other batch; export it in evaluation mode, with a free batch", ErrRows, why)
	}
	if err := m.resize(ctx, 1, o); err != nil {
		return fmt.Errorf("%w: %s, and a batch of 1 fails: %w", ErrRows, why, err)
	}
	m.batchReason = "a batch of 1 is taken, as " + why
	m.notes = append(m.notes, m.batchReason)
	return nil
}

// mixes says how an embedding changes with the company of its crop: in two full batches, among
// padding and, if batches of other sizes are free, in a batch of 1; "" if it does not.
func (m *Model) mixes(probes [][]byte, noise float64, free bool) (how string, err error) {
	var alone *Model
	if free {
		m, alone = cmp.Or(m.at(min(m.batch, cpuBatch)), m), m.at(1)
	}
	full, other := make([]int, m.batch), make([]int, m.batch) // crops by their rows
	for k := range full {
		full[k], other[k] = k%len(probes), (2*k+3)%len(probes)
	}
	first := make([][]float32, len(probes))
	for _, company := range []struct {
		in    string
		model *Model
		crops []int
	}{{"within a batch", m, full}, {"among others", m, other}, {"among padding", m, []int{0}}, {"alone", alone, []int{0}}} {
		if company.model == nil {
			continue
		}
		rows, err := company.model.embedProbes(probes, company.crops)
		if err != nil {
			return "", err
		}
		for k, crop := range company.crops {
			if first[crop] == nil {
				first[crop] = rows[k]
			}
			if d := difference(first[crop], rows[k]); d > noise {
				return fmt.Sprintf("%s it differs by %.2g of its norm", company.in, d), nil
			}
		}
	}
	return "", nil
}

// at is the model at another batch; nil if it does not run at that.
func (m *Model) at(batch int) *Model {
	other := m.Under(m.resolved.Preprocess)
	if other.try(batch) != nil {
		return nil
	}
	return other
}

// repeats is [ErrRows] if a crop has another embedding when it comes again.
func (m *Model) repeats(probes [][]byte, noise float64) error {
	var first []float32
	for _, crop := range []int{0, 1, 0} {
		rows, err := m.embedProbes(probes, []int{crop})
		if err != nil {
			return err
		}
		if first == nil {
			first = rows[0]
		}
		if d := difference(first, rows[0]); crop == 0 && d > noise {
			return fmt.Errorf("%w: a crop's embedding differs by %.2g of its norm when it is computed again; export the model in evaluation mode, without dropout", ErrRows, d)
		}
	}
	return nil
}

// embedProbes embeds some of the crops, by their places, in one batch.
func (m *Model) embedProbes(probes [][]byte, crops []int) ([][]float32, error) {
	b, err := newBatch(m)
	if err != nil {
		return nil, err
	}
	defer b.close()
	for row, crop := range crops {
		b.put(m.fill, row, probes[crop], false)
	}
	if err := b.run(0, len(crops)); err != nil {
		return nil, err
	}
	rows := make([][]float32, len(crops))
	for row := range rows {
		rows[row] = slices.Clone(b.row(row, m.dim))
	}
	return rows, nil
}

// probeCrops are coloured patches, darker and brighter ones. The same contract gives the same.
func probeCrops(p Preprocess) [][]byte {
	const n, patch = 5, 14
	rng := rand.New(rand.NewPCG(1, 1))
	crops := make([][]byte, n)
	for i := range crops {
		crops[i] = make([]byte, 3*p.Width*p.Height)
		across := (p.Width + patch - 1) / patch
		colours := make([]byte, 3*across*(p.Height/patch+1))
		for k := range colours {
			colours[k] = byte(rng.IntN(56 + 40*(i+1)))
		}
		for k := range crops[i] {
			x, y := k/3%p.Width, k/3/p.Width
			crops[i][k] = colours[3*(y/patch*across+x/patch)+k%3]
		}
	}
	return crops
}

// difference is the norm of a difference as a share of the larger norm. Values that are finite
// in neither are alike; in only one they differ without bound.
func difference(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	finite := func(v float32) bool { return v-v == 0 }
	var apart, normA, normB float64
	for i := range a {
		if finite(a[i]) != finite(b[i]) {
			return math.Inf(1)
		}
		if x, y := float64(a[i]), float64(b[i]); finite(a[i]) {
			apart, normA, normB = apart+(x-y)*(x-y), normA+x*x, normB+y*y
		}
	}
	if apart == 0 {
		return 0
	}
	return math.Sqrt(apart / max(normA, normB))
}
