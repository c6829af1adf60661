package loss

import (
	"maps"
	"slices"

	"facepipe/student/torch"
)

// Figure is one number of a step: Value or, where that is in the engine still, the only
// element of Tensor, a float64 without history.
type Figure struct {
	Value  float64
	Tensor torch.Tensor
}

// Parts are the named figures of one batch, for the metrics.
type Parts map[string]Figure

// know notes a figure that is known.
func (p Parts) know(name string, v float64) { p[name] = Figure{Value: v} }

// keep notes a figure that the engine has computed, or is about to.
func (p Parts) keep(s *torch.Scope, name string, t torch.Tensor) {
	p[name] = Figure{Tensor: s.To(s.Detach(t), torch.Float64)}
}

// Move hands the figures that are in the engine over to another scope.
func (p Parts) Move(from, to *torch.Scope) {
	for name, f := range p {
		if !f.Tensor.IsNone() {
			p[name] = Figure{Tensor: from.Move(f.Tensor, to)}
		}
	}
}

// Waiting lists the figures of batches that are in the engine.
func Waiting(batches []Parts) (list []torch.Tensor) {
	for _, p := range batches {
		for _, name := range slices.Sorted(maps.Keys(p)) {
			if f := p[name]; !f.Tensor.IsNone() {
				list = append(list, f.Tensor)
			}
		}
	}
	return list
}

// MeansOf are the figures of a step of several batches, each the mean over those that have
// it, with the values of what is [Waiting].
func MeansOf(batches []Parts, values []float64) map[string]float64 {
	means, with := map[string]float64{}, map[string]float64{}
	for _, p := range batches {
		for _, name := range slices.Sorted(maps.Keys(p)) {
			v := p[name].Value
			if !p[name].Tensor.IsNone() {
				v, values = values[0], values[1:]
			}
			with[name]++
			means[name] += (v - means[name]) / with[name]
		}
	}
	return means
}

// Means are those figures. What is in the engine is read in one copy, for which a device is
// waited for.
func Means(s *torch.Scope, batches []Parts) map[string]float64 {
	var values []float64
	if waiting := Waiting(batches); len(waiting) > 0 {
		if values = torch.ToData[float64](s, s.Stack(waiting)); s.Err() != nil {
			return nil
		}
	}
	return MeansOf(batches, values)
}
