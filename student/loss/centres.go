package loss

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// classes are what a softmax on labels compares embeddings with: a trained vector w_k of each
// identity and, in some, a number b_k.
//
// With a sample rate below 1 a step takes some of them only: those that its batch is of, and
// others drawn uniformly, up to rate·C, but 2 at least (Partial FC: An et al. 2022, arXiv
// 2203.15565). The softmax is over these, and they alone get a gradient, weight decay and
// momentum. What is drawn depends on the seed of the run and on the step.
type classes struct {
	stateless
	weight, bias *layer.Param // C×d and C; bias may be nil
	count        int          // C
	drawn        int          // that take part in a step, unless its batch is of more
	seed         uint64
}

// newClasses lays out the vectors.
func newClasses(sample float64, env Env, init layer.Init) (*classes, error) {
	if err := env.tellApart(2); err != nil {
		return nil, err
	}
	c := &classes{weight: layer.NewParam("centres.weight", []int{env.Classes, env.Dim}, init), count: env.Classes, seed: env.Seed}
	c.drawn = max(2, int(math.Round(sample*float64(c.count))))
	c.weight.Sparse = c.drawn < c.count
	return c, nil
}

// withBias adds the numbers.
func (c *classes) withBias() *classes {
	c.bias = layer.NewBias("centres.bias", c.count)
	c.bias.Sparse = c.weight.Sparse
	return c
}

// Params are the trained tensors.
func (c *classes) Params() []*layer.Param {
	if c.bias != nil {
		return []*layer.Param{c.weight, c.bias}
	}
	return []*layer.Param{c.weight}
}

// validSample is an error unless a sample rate is one.
func validSample(sample float64) error {
	if !(sample > 0 && sample <= 1) {
		return fmt.Errorf("sample %g is not in (0, 1]", sample)
	}
	return nil
}

// draw lists the identities of a step: those of the batch in their order, and others as they
// are drawn. Micro-batches of one step draw the same others, but for their own.
func (c *classes) draw(identities []int64, step int) []int64 {
	own := slices.Compact(slices.Sorted(slices.Values(identities)))
	rows := slices.Grow(own, max(0, c.drawn-len(own)))
	left := make([]int32, c.count)
	for i := range left {
		left[i] = int32(i)
	}
	rng := rand.New(rand.NewPCG(c.seed, uint64(step)))
	for i := 0; len(rows) < c.drawn; i++ {
		j := i + rng.IntN(c.count-i)
		left[i], left[j] = left[j], left[i]
		if _, known := slices.BinarySearch(own, int64(left[i])); !known {
			rows = append(rows, int64(left[i]))
		}
	}
	return rows
}

// chosen are the classes of a step.
type chosen struct {
	weight, bias torch.Tensor // K×d and K, of the type of the embeddings
	target       torch.Tensor // of each sample among them, int64
	parts        Parts
}

// choose takes the classes of a step. All samples of known have one.
func (c *classes) choose(s *torch.Scope, known labelled, step int, parts Parts) chosen {
	target, params := known.identities, c.Params()
	taken := make([]torch.Tensor, 2)
	if c.weight.Sparse {
		rows := c.draw(target, step)
		place := map[int64]int64{}
		for i, y := range rows[:min(len(rows), len(target))] { // those of the batch come first
			place[y] = int64(i)
		}
		target = make([]int64, known.n)
		for i, y := range known.identities {
			target[i] = place[y]
		}
		for i, p := range params {
			taken[i] = p.Rows(s, rows)
		}
		parts.know("sampled", float64(len(rows)))
	} else {
		for i, p := range params {
			taken[i] = p.Tensor()
		}
	}
	for i := range params {
		taken[i] = s.ToLike(taken[i], known.student)
	}
	return chosen{weight: taken[0], bias: taken[1], target: intsLike(s, known.student, target), parts: parts}
}

// classCosines are those of samples and the vectors of classes.
type classCosines struct {
	all    torch.Tensor // N×K
	own    torch.Tensor // those of the samples' own classes, N×1
	column torch.Tensor // where these are, N×1
	target torch.Tensor
}

// cosines are those of a batch's labelled samples, of which there is one at least.
func (c *classes) cosines(s *torch.Scope, known labelled, step int, parts Parts) classCosines {
	k := c.choose(s, known, step, parts)
	return cosinesOf(s, s.Cosines(known.student, k.weight), k.target)
}

func cosinesOf(s *torch.Scope, cosines, target torch.Tensor) classCosines {
	column := s.Reshape(target, -1, 1)
	return classCosines{all: cosines, own: s.Gather(cosines, 1, column), column: column, target: target}
}

// logits are the cosines stretched by scale, with lowered in the place of the samples' own ones.
func (a classCosines) logits(s *torch.Scope, lowered torch.Tensor, scale float64) torch.Tensor {
	return s.Scale(s.Scatter(a.all, 1, a.column, lowered), scale)
}

// entropy is the cross-entropy of the logits.
func (a classCosines) entropy(s *torch.Scope, lowered torch.Tensor, scale float64) torch.Tensor {
	return s.CrossEntropy(a.logits(s, lowered, scale), a.target)
}
