package loss

import (
	"fmt"
	"math"
	"math/rand/v2"

	"facepipe/student/torch"
)

var tripletLoss = Loss{
	Name:   "triplet",
	About:  "triplet distillation: semi-hard triplets, each with the margin that the teacher's distances give it",
	Source: "Feng et al., ICIP 2020, arXiv 1905.04457; defaults and both distances from david-svitov/margindistillation",
	Formula: `L = mean over triplets (a, p, n) of max(0, d(ŝ_a, ŝ_p) - d(ŝ_a, ŝ_n) + m)
m = min_margin + (max_margin - min_margin) · D / max D, D = max(0, d(t̂_a, t̂_n) - d(t̂_a, t̂_p))
max D: the largest of the batch; where that is 0, m = min_margin
d(x, y) = |x - y|² (distance: l2) or arccos <x, y> (distance: arccos)
Triplets, as FaceNet's: each pair (a, p) of one identity in the batch with one n of another, drawn
   from those with 0 < |ŝ_a - ŝ_n|² - |ŝ_a - ŝ_p|² < alpha; a pair without any makes no triplet
Made to refine a trained student (code: lr 0.001). Positives want --sampler class-balanced.`,
	Needs: TeacherEmbedding | Labels,
	Own:   true,
	defaults: tripletSettings{
		Distance: "l2", Alpha: 0.35, MinMargin: 0.2, MaxMargin: 0.5,
	},
}

func (c tripletSettings) settled() (settings, error) { return c, c.validate() }
func (c tripletSettings) build(Env) (term, error)    { return formula(c.step), nil }

// tripletSettings tune triplet distillation; see step. All defaults are from the code.
type tripletSettings struct {
	// Distance is l2, the squared one, or arccos.
	Distance string `yaml:"distance" about:"l2 (squared, of unit vectors) or arccos (the angle)"`
	// Alpha is how much farther than the positive a negative may be to be taken, in squared
	// distance whatever Distance is.
	Alpha float64 `yaml:"alpha" about:"how much farther (squared) than the positive a mined negative may be"`
	// MinMargin and MaxMargin are the margins where the teacher tells p and n least and most
	// apart.
	MinMargin float64 `yaml:"min_margin" about:"margin where the teacher does not tell the two apart"`
	MaxMargin float64 `yaml:"max_margin" about:"margin where the teacher tells them apart most"`
}

func (c tripletSettings) validate() error {
	switch {
	case c.Distance != "l2" && c.Distance != "arccos":
		return fmt.Errorf("triplet distance %q is none of l2, arccos", c.Distance)
	case !finite(c.Alpha) || c.Alpha <= 0:
		return fmt.Errorf("triplet alpha %g must be finite and positive", c.Alpha)
	case !finite(c.MinMargin, c.MaxMargin) || c.MinMargin < 0 || c.MaxMargin < c.MinMargin:
		return fmt.Errorf("triplet min_margin %g must not be negative, and max_margin %g finite and no smaller", c.MinMargin, c.MaxMargin)
	}
	return nil
}

// step is triplet distillation (Feng et al., ICIP 2020, arXiv 1905.04457; the two distances,
// margins 0.2 to 0.5 and α = 0.35 from the code of margindistillation):
//
//	L   = mean of max(0, d(ŝ_a, ŝ_p) - d(ŝ_a, ŝ_n) + m) over the mined triplets (a, p, n)
//	m   = (m_max - m_min)/max D · D + m_min, without gradient; D = max(0, d(t̂_a, t̂_n) - d(t̂_a, t̂_p))
//	d   = |x - y|² or arccos <x, y>
//
// The code divides by zero where max D is 0: here such margins are m_min. Its arc cosine has
// an infinite derivative at ±1; here cosines stop 1e-7 before. It mines in bags of 7,200
// images, embedded before they are trained on: here the bag is the batch.
//
// Samples without a label or a usable teacher embedding are in no triplet. Without a triplet
// the loss is zero. From the cache it needs the teacher's embeddings. Of N samples it holds N²
// similarities and at most N²/2 triplets. The students' similarities are read back, to mine.
func (c tripletSettings) step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	v = v.single()
	p, parts := v.unit(), Parts{}
	parts.know("dropped", float64(p.dropped))
	var mined triplets
	if len(p.samples) > 0 {
		mined = c.mine(p, s.Floats(s.Detach(v.grams().student)), v.Step)
	}
	parts.know("triplets", float64(len(mined.positive)))
	if len(mined.positive) == 0 || s.Err() != nil {
		return zero(s, v.Student), parts
	}
	all := v.grams()
	margin := c.margins(s, s.Sub(c.distances(s, all.teacher, mined.negative), c.distances(s, all.teacher, mined.positive)))
	parts.keep(s, "margin", s.Mean(margin))
	apart := s.Sub(c.distances(s, all.student, mined.positive), c.distances(s, all.student, mined.negative))
	return s.Mean(s.ReLU(s.Add(apart, s.ToLike(margin, apart)))), parts
}

// distances are those of unit vectors with some of the cosines of a matrix.
func (c tripletSettings) distances(s *torch.Scope, cosines torch.Tensor, places []int64) torch.Tensor {
	cosine := elements(s, cosines, places)
	if c.Distance == "arccos" {
		const edge = 1e-7
		return s.Acos(s.Clamp(cosine, -1+edge, 1-edge))
	}
	return s.AddScalar(s.Scale(cosine, -2), 2)
}

// margins are m of triplets, of how much farther the negative is than the positive to the
// teacher.
func (c tripletSettings) margins(s *torch.Scope, farther torch.Tensor) torch.Tensor {
	d := s.ReLU(farther)
	most := s.Max(d)
	share := s.Div(d, s.Where(s.Greater(most, 0), most, s.OnesLike(most)))
	return s.AddScalar(s.Scale(share, c.MaxMargin-c.MinMargin), c.MinMargin)
}

// triplets are the pairs (a, p) and (a, n) of each triplet, by their places in an N×N matrix.
type triplets struct{ positive, negative []int64 }

// mine finds the triplets of a batch with the student's cosines (N×N). Of a pair of one
// identity, once each, one is the anchor: the one that comes first in an order of the images
// drawn for the step. The negative is drawn from those that are farther than the positive by
// less than α. All that is drawn depends on the step and the images alone. A face is no
// positive of itself or its mirror image.
func (c tripletSettings) mine(p pair, cosines []float32, step int) triplets {
	n := len(p.samples)
	images, order := make([]uint64, n), make([]uint64, n)
	for i, sample := range p.samples {
		images[i] = 2 * uint64(sample)
		if p.isMirrored(i) {
			images[i]++
		}
		order[i] = draw(uint64(step), images[i])
	}
	rows := make([]triplets, n)
	each(n, func(a int) {
		for b := range n {
			if p.labels[a] < 0 || p.labels[b] != p.labels[a] || p.samples[b] == p.samples[a] || order[b] < order[a] {
				continue
			}
			if k := c.semiHard(p.labels, cosines, a, b, images, draw(order[a], images[b])); k >= 0 {
				rows[a].positive = append(rows[a].positive, int64(a*n+b))
				rows[a].negative = append(rows[a].negative, int64(a*n+k))
			}
		}
	})
	var all triplets
	for _, row := range rows {
		all.positive, all.negative = append(all.positive, row.positive...), append(all.negative, row.negative...)
	}
	return all
}

// semiHard draws the negative of a pair, -1 where there is none: of those that may be, the
// one to which the lot gives the smallest number.
func (c tripletSettings) semiHard(labels []int32, cosines []float32, anchor, positive int, images []uint64, lot uint64) int {
	n := len(labels)
	found, smallest := -1, uint64(math.MaxUint64)
	for k, label := range labels {
		// |x - y|² = 2 - 2 <x, y>
		farther := 2 * (float64(cosines[anchor*n+positive]) - float64(cosines[anchor*n+k]))
		if label < 0 || label == labels[anchor] || farther <= 0 || farther >= c.Alpha {
			continue
		}
		if number := draw(lot, images[k]); number < smallest {
			found, smallest = k, number
		}
	}
	return found
}

// draw is a number at random that depends on two others alone.
func draw(a, b uint64) uint64 { return rand.NewPCG(a, b).Uint64() }
