package loss

import (
	"errors"
	"fmt"

	"facepipe/student/torch"
)

var gkdLoss = Loss{
	Name:   "gkd",
	About:  "grouped knowledge distillation: class probabilities within a group of likely identities, and of the group",
	Source: "Zhao et al. 2023, arXiv 2304.04462, and its code",
	Formula: `L = CE + ramp·(binary·B + primary·P + secondary·S)
with p = softmax(z^s_i / T), q = softmax(z^t_i / T), G_i: y_i and the likeliest others by z^s_i, n in all:
B = T²·mean KL([q(G), q(¬G)] | [p(G), p(¬G)]), P = T²·mean KL(q within G | p within G), S the same of ¬G
n = size (group fixed), or the smallest of 1, 1 + step, 1 + 2·step, ... (adaptive) for which the n
likeliest identities of the batch, by the sum of softmax(z^s_i), have the share mass of it
ramp rises linearly to 1 over a share of the run
` + ofLogits,
	Needs: TeacherEmbedding | Labels | IdentityVectors,
	Rate:  rateOfClasses,
	defaults: gkdSettings{Logits: logitSettings{"cosface", differentiating(cosfaceMargin, 0.4), "auto"},
		Own: groupSettings{Group: "fixed", Size: 10000, Mass: 0.93, Step: 100, Temperature: 4, Binary: 1, Primary: 8, Ramp: 0.5}},
}

// gkdSettings tune gkd; all defaults are the code's, of which the ramp over 10 of 20 epochs has
// become half of the run.
type gkdSettings struct {
	Logits logitSettings `yaml:",inline"`
	Own    groupSettings `yaml:",inline"`
}

type groupSettings struct {
	Group       string  `yaml:"group" about:"fixed (of size identities) or adaptive (as many as have the share mass)"`
	Size        int     `yaml:"size" about:"identities in a fixed group, the sample's own among them; all where there are fewer"`
	Mass        float64 `yaml:"mass" about:"the share of the batch's probability in an adaptive group"`
	Step        int     `yaml:"step" about:"by which an adaptive group grows"`
	Temperature float64 `yaml:"temperature" about:"T, which logits are divided by"`
	Binary      float64 `yaml:"binary" about:"weight of the group's probability"`
	// Primary is 8 for fixed groups and 4 for adaptive ones, as in the code; the paper's study
	// of weights found 8.
	Primary   float64 `yaml:"primary" about:"weight of the probabilities within the group"`
	Secondary float64 `yaml:"secondary" about:"weight of those outside of it"`
	Ramp      float64 `yaml:"ramp" about:"share of the run over which these weights rise"`
}

func (c gkdSettings) defaults() settings {
	d := gkdLoss.defaults.(gkdSettings)
	if c.Own.Group == "adaptive" {
		d.Own.Primary = 4
	}
	return d
}

func (c gkdSettings) settled() (settings, error) {
	g := c.Own
	var err error
	c.Logits, err = c.Logits.settled()
	err = errors.Join(err, oneOf("gkd.group", g.Group, []string{"fixed", "adaptive"}),
		validTemperature("gkd", g.Temperature), validWeight("gkd.binary", g.Binary), validWeight("gkd.primary", g.Primary),
		validWeight("gkd.secondary", g.Secondary))
	switch {
	case err != nil:
	case g.Size < 1 || g.Step < 1:
		err = fmt.Errorf("gkd.size %d and gkd.step %d must be positive", g.Size, g.Step)
	case !finite(g.Mass) || g.Mass <= 0 || g.Mass > 1:
		err = fmt.Errorf("gkd.mass %g must be in (0, 1]", g.Mass)
	case !finite(g.Ramp) || g.Ramp < 0 || g.Ramp > 1:
		err = fmt.Errorf("gkd.ramp %g must be a share of the run, in [0, 1]", g.Ramp)
	}
	return c, err
}

func (c gkdSettings) build(env Env) (term, error) {
	l, err := newLogitTerm(gkdLoss.Name, c.Logits, env)
	if err != nil {
		return nil, err
	}
	g := grouped{c.Own, l.table.n, c.Own.Ramp * float64(env.Steps)}
	l.compare = g.compare
	return l, nil
}

// grouped is what gkd adds to the cross-entropy. All is computed by logarithms, so that a group
// with all of the probability leaves nothing infinite.
type grouped struct {
	c     groupSettings
	most  int     // classes
	steps float64 // of the ramp
}

func (g grouped) ramp(step int) float64 {
	if float64(step) >= g.steps {
		return 1
	}
	return float64(step) / g.steps
}

func (g grouped) compare(s *torch.Scope, z logits, step int, parts Parts) torch.Tensor {
	var outside torch.Tensor
	n := 0
	s.Engine().NoGrad(func() {
		n = g.size(s, z)
		outside = g.outside(s, z, n)
	})
	parts.know("group", float64(n))
	cooler := 1 / g.c.Temperature
	student, teacher := s.Scale(z.student, cooler), s.Scale(z.teacher, cooler)
	within := func(mask torch.Tensor) torch.Tensor {
		return divergence(s, s.Mask(student, mask, nothing), s.Mask(teacher, mask, nothing), g.c.Temperature)
	}
	binary := logDivergence(s, bothSides(s, student, outside), bothSides(s, teacher, outside), g.c.Temperature)
	primary := within(outside)
	parts.keep(s, "binary", binary)
	parts.keep(s, "primary", primary)
	total := s.Add(s.Scale(binary, g.c.Binary), s.Scale(primary, g.c.Primary))
	if g.c.Secondary > 0 && n < g.most {
		total = s.Add(total, s.Scale(within(s.Not(outside)), g.c.Secondary))
	}
	return s.Scale(total, g.ramp(step))
}

// nothing is a logit without any probability. Infinity would give 0·∞.
const nothing = -1e9

// bothSides are the logarithms of the probabilities of the group and of what is outside, N×2.
func bothSides(s *torch.Scope, z, outside torch.Tensor) torch.Tensor {
	all := s.LogSumExp(z, 1, true)
	in := s.LogSumExp(s.Mask(z, outside, nothing), 1, true)
	out := s.LogSumExp(s.Mask(z, s.Not(outside), nothing), 1, true)
	return s.Concat([]torch.Tensor{s.Sub(in, all), s.Sub(out, all)}, 1)
}

// outside tells of each logit whether it is outside its sample's group of n.
func (g grouped) outside(s *torch.Scope, z logits, n int) torch.Tensor {
	mark := s.OnesLike(z.student)
	if n >= g.most {
		return s.Greater(s.ZerosLike(mark), 0.5)
	}
	// The sample's own identity comes first.
	own := s.Gather(z.student, 1, z.classed.column)
	order := s.Scatter(z.student, 1, z.classed.column, s.AddScalar(s.ZerosLike(own), -nothing))
	s.Fill(mark, 1, s.Largest(order, n), 0)
	return s.Greater(mark, 0.5)
}

// size is n. An adaptive one is read from the engine, one number; where rounding keeps even all
// classes below the mass, for which the code has no size, it is all of them.
func (g grouped) size(s *torch.Scope, z logits) int {
	if g.c.Group == "fixed" {
		return min(g.c.Size, g.most)
	}
	probability := s.SumDim(s.Softmax(z.student, 1), 0, false)
	sums := s.Every(s.CumulativeSum(s.Descending(probability)), g.c.Step)
	tooFew := s.Greater(s.Scale(sums, -1), -g.c.Mass*float64(len(z.classed.at)))
	short := int(s.Scalar(s.Sum(s.To(tooFew, torch.Float64))))
	return min(1+short*g.c.Step, g.most)
}
