package layer

import (
	"encoding/binary"
	"hash/fnv"
	"math/rand/v2"
	"slices"

	"facepipe/student/torch"
)

// Chance is what is drawn at random in a training pass depends on, and nothing else: a step
// draws the same again, whichever ranks and micro-batches its crops are in.
type Chance struct {
	Seed uint64
	Step int
	// Crops are the rows of the batch's crops in the dataset.
	Crops []int64
}

// draw is a number in [0, 1) for a crop and a name.
func (c *Chance) draw(name string, crop int64) float64 {
	h := fnv.New64a()
	for _, v := range []uint64{c.Seed, uint64(c.Step), uint64(crop)} {
		h.Write(binary.LittleEndian.AppendUint64(nil, v)) // which never fails
	}
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(h.Sum64(), 0)).Float64()
}

// DropPath leaves out, in training, what Body makes of some crops, each with the probability
// Rate, and makes up for it in the others by 1/(1-Rate) (Huang et al. 2016, arXiv
// 1603.09382). It stands inside of a [Residual].
type DropPath struct {
	Body Layer
	Rate float64

	name string
}

// Register declares the parameters of the body.
func (l *DropPath) Register(prefix string, add func(*Param)) {
	l.name = prefix
	l.Body.Register(prefix, add)
}

// drops is whether a pass leaves anything out.
func (l *DropPath) drops(p *Pass) bool { return p.Training && p.Chance != nil && l.Rate > 0 }

// Forward runs the body.
func (l *DropPath) Forward(p *Pass, x torch.Tensor) torch.Tensor {
	y := l.Body.Forward(p, x)
	if !l.drops(p) {
		return y
	}
	shape := slices.Repeat([]int{1}, max(1, len(p.Scope.Shape(y)))) // none if the engine has failed
	factors := make([]float32, len(p.Chance.Crops))
	for i, crop := range p.Chance.Crops {
		if p.Chance.draw(l.name, crop) >= l.Rate {
			factors[i] = float32(1 / (1 - l.Rate))
		}
	}
	shape[0] = len(factors)
	return p.Scope.Mul(y, p.Scope.ToLike(torch.FromDataLike(p.Scope, y, factors, shape...), y))
}

// forwardAdd adds a residual to what the body makes.
func (l *DropPath) forwardAdd(p *Pass, x, residual torch.Tensor) torch.Tensor {
	if l.drops(p) {
		return p.Scope.Add(l.Forward(p, x), residual)
	}
	return forwardAdd(p, l.Body, x, residual)
}

// Export writes the body: nothing is dropped after training.
func (l *DropPath) Export(g *Graph, prefix, input string) string {
	return l.Body.Export(g, prefix, input)
}

// Cost is the body's.
func (l *DropPath) Cost(in Shape) (out Shape, macs int64) { return l.Body.Cost(in) }
