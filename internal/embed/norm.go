package embed

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"facepipe/internal/ort"
	"facepipe/internal/vec"
)

// takeNorm finds the output that holds the length that an embedding had before the model made
// it 1, as AdaFace's do, or takes the one that a contract goes with.
func (m *Model) takeNorm(o Options) error {
	if o.Contract != nil {
		place := slices.Index(m.outputs.names, o.Norm)
		if o.Norm != "" && (place < 0 || !perCrop(m.shapes[place], m.batch)) {
			return fmt.Errorf("%w: it has no output %q of a norm for each crop: %s", ErrShape, o.Norm, m.outputs.list(m.shapes))
		}
		m.outputs.norm, m.outputs.Norm = place, o.Norm
		return nil
	}
	place, named := m.likelyNorm()
	if place == noNorm {
		return nil
	}
	rows, norms, err := m.lengths(place)
	if err != nil {
		return err
	}
	name, noise := m.outputs.names[place], max(m.noise(o.Runtime), float32Noise)
	least := 1.0 // below it an output of no telling name may be a probability
	if named {
		least = 0
	}
	switch positive := !slices.ContainsFunc(norms, func(v float64) bool { return !(v > least) || math.IsInf(v, 1) }); {
	case positive && near(rows, norms, noise):
		m.notes = append(m.notes, fmt.Sprintf("output %s is the embedding's length, which is kept anyway", name))
	case positive && near(rows, slices.Repeat([]float64{1}, len(rows)), noise):
		m.outputs.norm, m.outputs.Norm = place, name
	case named:
		m.notes = append(m.notes, fmt.Sprintf("output %s is not the embedding's norm: it is %.4g for a crop whose embedding has the length %.4g, which is kept instead", name, norms[0], rows[0]))
	}
	return nil
}

// likelyNorm is the place of the only output that has one value for each crop and "norm" in its
// name or, if none is named so, the only one with one value; noNorm if there is no such.
func (m *Model) likelyNorm() (place int, named bool) {
	var all, norms []int
	for i, shape := range m.shapes {
		if i == m.outputs.embedding || !perCrop(shape, m.batch) {
			continue
		}
		all = append(all, i)
		if strings.Contains(strings.ToLower(m.outputs.names[i]), "norm") {
			norms = append(norms, i)
		}
	}
	switch {
	case len(norms) == 1:
		return norms[0], true
	case len(norms) == 0 && len(all) == 1:
		return all[0], false
	}
	return noNorm, false
}

// perCrop says that an output has one value for each crop of a batch.
func perCrop(shape []int64, batch int) bool {
	values := int64(1)
	for _, d := range shape {
		values *= d
	}
	return len(shape) > 0 && shape[0] == int64(batch) && values == int64(batch)
}

// lengths are those of some crops' embeddings, and what another output says of the crops.
func (m *Model) lengths(place int) (rows, others []float64, err error) {
	in, err := m.newInput(m.batch)
	if err != nil {
		return nil, nil, err
	}
	defer in.close()
	probes := probeCrops(m.resolved.Preprocess)
	for len(probes) > 0 {
		n := min(m.batch, len(probes))
		for k, crop := range probes[:n] {
			m.fill.put(in.image, k, crop, false)
		}
		probes = probes[n:]
		outs := make([]*ort.Tensor, len(m.shapes))
		if err := m.busy.run(func() error { return m.session.Run(in.tensors(), outs) }); err != nil {
			return nil, nil, err
		}
		embeddings, values := outs[m.outputs.embedding].Floats(nil), outs[place].Floats(nil)
		for k := range n {
			rows = append(rows, vec.Norm(embeddings[k*m.dim:(k+1)*m.dim]))
			others = append(others, float64(values[k]))
		}
		for _, out := range outs {
			out.Close()
		}
	}
	return rows, others, nil
}

// near says that values agree up to a share of them.
func near(a, b []float64, noise float64) bool {
	for i := range a {
		if !(math.Abs(a[i]-b[i]) <= noise*math.Abs(b[i])) {
			return false
		}
	}
	return true
}
