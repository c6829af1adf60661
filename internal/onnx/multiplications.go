package onnx

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
)

// Multiplications are what a graph costs for one image. Additions, activations, norms that
// are nodes of their own, and pooling are not counted, as is usual.
type Multiplications struct {
	// Weights is how often a weight is multiplied by a value (MACs).
	Weights int64
	// Attention is how often, in products of matrices and the like, two values are multiplied by
	// each other that both depend on the image. Many publications leave these out.
	Attention int64
	// Unknown are the operators of which that is not known, each once, with their domain.
	Unknown []string
}

// Probe is a model that tells the shapes from which its multiplications follow.
type Probe struct {
	// Model are the bytes to run, as a model of one float32 input; nil if nothing is multiplied.
	Model []byte
	// Image is that input.
	Image ValueInfo

	layers  []layer
	values  []string // whose shapes are the outputs
	unknown map[string]bool
}

// layer is a node that multiplies.
type layer struct {
	*Node
	operator
	// products says that it multiplies no weights, but values.
	products bool
}

// NewProbe makes a probe of a model's bytes. Nodes that no output needs do not count.
func NewProbe(data []byte) (*Probe, error) {
	m, err := Unmarshal(data)
	if err != nil {
		return nil, err
	}
	images := m.Graph.Images()
	if len(images) != 1 {
		return nil, fmt.Errorf("it has %d inputs, and not one", len(images))
	}
	f, err := m.Graph.flow()
	if err != nil {
		return nil, err
	}
	p := &Probe{Image: images[0], unknown: map[string]bool{}}
	for i := range m.Graph.Nodes {
		if f.needed[i] && f.fed(f.reads[i]) {
			p.add(&m.Graph.Nodes[i], f, f.bodies[i])
		}
	}
	if len(p.values) > 0 {
		p.Model, err = Form{}.rewrite(data, &m.Graph, func(w *message, _ *Graph) { w.shapes(p.values) })
	}
	return p, err
}

// add adds a node that depends on the image.
func (p *Probe) add(n *Node, f *flow, bodies []Graph) {
	for _, g := range bodies {
		for i := range g.Nodes {
			if op, known := g.Nodes[i].operator(); !known || op.cost != nil {
				p.unknown[n.name()+" with "+g.Nodes[i].name()] = true
			}
		}
	}
	op, known := n.operator()
	if !known {
		p.unknown[n.name()] = true
	}
	if op.cost == nil {
		return
	}
	l := layer{Node: n, operator: op, products: len(op.shapes) > 1}
	for _, i := range op.shapes {
		l.products = l.products && f.fed([]string{l.input(i)})
		p.values = append(p.values, l.input(i))
	}
	p.layers, p.values = append(p.layers, l), append(p.values, n.Outputs[0])
	p.values = slices.DeleteFunc(p.values, func(name string) bool { return name == "" })
}

// operator is what is known of a node's.
func (n *Node) operator() (operator, bool) {
	op, known := operators[n.name()]
	return op, known || n.Domain == ""
}

// input is the name of an input; "" if it is left out.
func (n *Node) input(i int) string {
	if i >= len(n.Inputs) {
		return ""
	}
	return n.Inputs[i]
}

// shapes writes outputs that are the shapes of values.
func (w *message) shapes(values []string) {
	for i, value := range values {
		name := "shape." + strconv.Itoa(i) + castSuffix
		n := Node{Name: name + ".of", OpType: "Shape", Inputs: []string{value}, Outputs: []string{name + ".of"}}
		w.nested(graphNode, n.write)
		w.cast(name+".of", name, Float32)
		w.output(name, Float32)
	}
}

// Up to these, dimensions in float32 and counts in float64 are exact.
const (
	maxDimension = 1 << 24
	maxCount     = 1 << 53
)

// Count counts from what the outputs of the probe's model are for a batch of so many images,
// which is at least 1.
func (p *Probe) Count(outputs [][]float32, batch int) (m Multiplications, err error) {
	if len(outputs) != len(p.values) {
		return m, fmt.Errorf("%d shapes for %d values", len(outputs), len(p.values))
	}
	shapes := map[string]shape{}
	for i, name := range p.values {
		s := shape{}
		for _, d := range outputs[i] {
			if !(d >= 0 && d < maxDimension) {
				return m, fmt.Errorf("%s has the shape %v", name, outputs[i])
			}
			s = append(s, int64(d))
		}
		shapes[name] = s
	}
	unknown, weights, attention := maps.Clone(p.unknown), 0.0, 0.0
	for _, l := range p.layers {
		macs, products, known := l.count(shapes)
		if !known {
			unknown[l.name()] = true
			continue
		}
		weights, attention = weights+macs, attention+products
	}
	if !(weights+attention <= maxCount) {
		return m, fmt.Errorf("it would take %g multiplications", weights+attention)
	}
	m = Multiplications{int64(weights), int64(attention), slices.Sorted(maps.Keys(unknown))}
	if b := int64(batch); m.Weights%b != 0 || m.Attention%b != 0 {
		return Multiplications{}, fmt.Errorf("%d and %d multiplications cannot be divided among a batch of %d", m.Weights, m.Attention, batch)
	}
	m.Weights, m.Attention = m.Weights/int64(batch), m.Attention/int64(batch)
	return m, nil
}

// count counts what a layer multiplies, if that follows from the shapes.
func (l *layer) count(shapes map[string]shape) (macs, products float64, known bool) {
	shapeOf := func(name string) shape {
		if s, found := shapes[name]; found {
			return s
		}
		return shape{-1}
	}
	var in []shape
	for _, i := range l.shapes {
		in = append(in, shapeOf(l.input(i)))
	}
	macs, products = l.cost(l.Node, in, shapeOf(l.Outputs[0]))
	if l.products {
		macs, products = 0, macs+products
	}
	return macs, products, macs >= 0 && products >= 0
}

// flow is how values get through a graph: by node, what it reads, the bodies that it may run,
// and whether an output needs it; and the values that depend on the image.
type flow struct {
	reads     [][]string
	bodies    [][]Graph
	needed    []bool
	dependent map[string]bool
}

func (g *Graph) flow() (*flow, error) {
	f := &flow{make([][]string, len(g.Nodes)), make([][]Graph, len(g.Nodes)), make([]bool, len(g.Nodes)), map[string]bool{}}
	makers, readers := map[string]int{}, map[string][]int{}
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if len(n.Outputs) == 0 {
			return nil, fmt.Errorf("node %s (%s) has no output", n.Name, n.OpType)
		}
		var err error
		if f.bodies[i], err = n.bodies(maxBodies); err != nil {
			return nil, err
		}
		f.reads[i] = n.reads(f.bodies[i])
		for _, name := range f.reads[i] {
			readers[name] = append(readers[name], i)
		}
		for _, name := range n.Outputs {
			makers[name] = i
		}
	}
	names := func(list []ValueInfo) (all []string) {
		for _, v := range list {
			all = append(all, v.Name)
		}
		return all
	}
	for open := names(g.Outputs); len(open) > 0; {
		i, made := makers[open[0]]
		if open = open[1:]; made && !f.needed[i] {
			f.needed[i] = true
			open = append(open, f.reads[i]...)
		}
	}
	for open := names(g.Images()); len(open) > 0; {
		name := open[0]
		if open = open[1:]; name == "" || f.dependent[name] {
			continue
		}
		f.dependent[name] = true
		for _, i := range readers[name] {
			if n := &g.Nodes[i]; n.OpType != "Shape" && n.OpType != "Size" {
				open = append(open, n.Outputs...)
			}
		}
	}
	return f, nil
}

// fed says that one of the values depends on the image, and not only on its shape.
func (f *flow) fed(values []string) bool {
	return slices.ContainsFunc(values, func(name string) bool { return f.dependent[name] })
}

// maxBodies is how deep bodies inside each other are looked into.
const maxBodies = 8

// bodies are the graphs that a node may run, such as the branches of If, and those of their
// nodes. More than so many inside each other are an error.
func (n *Node) bodies(depth int) (all []Graph, err error) {
	for _, a := range n.Attributes {
		for _, data := range a.graphs {
			var g Graph
			if err = g.read(data); depth == 0 {
				err = fmt.Errorf("more than %d are inside each other", maxBodies)
			}
			if err != nil {
				return nil, fmt.Errorf("bodies of node %s (%s): %w", n.Name, n.OpType, err)
			}
			all = append(all, g)
			for i := range g.Nodes {
				inner, err := g.Nodes[i].bodies(depth - 1)
				if err != nil {
					return nil, err
				}
				all = append(all, inner...)
			}
		}
	}
	return all, nil
}

// reads are the values that a node needs, with those that its bodies take from outside.
func (n *Node) reads(bodies []Graph) []string {
	all := slices.Clone(n.Inputs)
	for _, g := range bodies {
		for _, inner := range g.Nodes {
			all = append(all, inner.Inputs...)
		}
		for _, out := range g.Outputs {
			all = append(all, out.Name)
		}
	}
	return all
}
