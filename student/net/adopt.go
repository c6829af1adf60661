package net

import (
	"fmt"
	"slices"

	"facepipe/internal/onnx"
	"facepipe/student/net/layer"
)

// Tensor is an array of a file of weights.
type Tensor struct {
	Shape []int
	Data  []float32
}

// Adoption says what a network took from a file of weights.
type Adoption struct {
	// Taken counts the network's tensors that the file gave, of Tensors, and Values their
	// numbers, of AllValues.
	Taken, Tensors    int
	Values, AllValues int
	// ByOrder is whether the file's graph has the network's layers under other names.
	ByOrder bool
	// Left are the network's tensors that stay as they were.
	Left []Mismatch
	// Unused are the file's tensors that the network has no place for.
	Unused []string

	folded []*layer.Norm
}

// Mismatch is a tensor of the network that a file does not give.
type Mismatch struct {
	Name string
	// Shape is the network's, FileShape the file's: nil if it has no such tensor.
	Shape, FileShape []int
}

// Folded is whether the file had norms folded into convolutions: the network then does
// what the file's does, but not in training, for which see [Network.NewUnfold].
func (a *Adoption) Folded() bool { return len(a.folded) > 0 }

// take notes a tensor of the network for which the file has one, and whether that fits.
func (a *Adoption) take(name string, want []int, t Tensor, found bool) bool {
	n := product(want)
	a.Tensors++
	a.AllValues += n
	if !found || !slices.Equal(t.Shape, want) {
		a.Left = append(a.Left, Mismatch{name, want, t.Shape})
		return false
	}
	a.Taken++
	a.Values += n
	return true
}

func product(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Adopt replaces the values that tensors have by the names of [Network.Params].
func (n *Network) Adopt(v layer.Values, tensors map[string]Tensor) Adoption {
	var a Adoption
	for _, p := range n.params {
		t, found := tensors[p.Name]
		if a.take(p.Name, p.Shape, t, found) {
			v[p] = t.Data
		}
	}
	for name := range tensors {
		if !slices.ContainsFunc(n.params, func(p *layer.Param) bool { return p.Name == name }) {
			a.Unused = append(a.Unused, name)
		}
	}
	slices.Sort(a.Unused)
	return a
}

// AdoptGraph replaces the values for which an ONNX graph has weights: those by the names
// of [Network.Export] or, if there are none, those of a graph of the same layers, such as
// the one that another program exported of the same network. A graph whose weights cannot
// be read is an error.
func (n *Network) AdoptGraph(v layer.Values, m *onnx.Model) (Adoption, error) {
	g := &layer.Graph{Values: v, Opset: DefaultOpset}
	out := n.root.Export(g, "", inputName)
	own := map[string]layer.Weight{}
	for _, w := range g.Weights {
		own[w.Name] = w
	}
	want, err := layerWeights(&g.Graph, out)
	if err != nil {
		return Adoption{}, err
	}
	if len(m.Graph.Outputs) == 0 {
		return Adoption{}, fmt.Errorf("the graph has no output")
	}
	have, err := layerWeights(&m.Graph, m.Graph.Outputs[0].Name)
	if err != nil {
		return Adoption{}, err
	}
	named := map[string]layerWeight{}
	for _, w := range have {
		named[w.name] = w
	}
	byOrder := !slices.ContainsFunc(want, func(w layerWeight) bool { _, ok := named[w.name]; return ok }) &&
		slices.EqualFunc(want, have, func(a, b layerWeight) bool { return a.role == b.role })

	a := Adoption{ByOrder: byOrder}
	used := map[string]bool{}
	folded := map[*layer.Norm]bool{}
	for i, w := range want {
		if w.name == "" {
			continue // a bias that the network does not have
		}
		found, ok := named[w.name]
		if byOrder {
			found, ok = have[i], true
		}
		used[found.name] = ok || used[found.name]
		o := own[w.name]
		// A norm's offset without the weights that it goes with would mean nothing.
		orphan := o.IsOffset() && !folded[o.Folded]
		if !a.take(w.name, w.Shape, found.Tensor, ok && !orphan) {
			continue
		}
		v[o.Param] = found.Data
		if o.Folded != nil && !folded[o.Folded] {
			folded[o.Folded] = true
			a.folded = append(a.folded, o.Folded)
			o.Folded.MakeIdentity(v)
		}
		if o.Absorbed != nil {
			v[o.Absorbed] = make([]float32, o.Absorbed.Elements())
		}
	}
	for _, w := range have {
		if w.name != "" && !used[w.name] {
			a.Unused = append(a.Unused, w.name)
		}
	}
	return a, nil
}
