package loss

import (
	"fmt"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var margindistillLoss = Loss{
	Name:   "margindistill",
	About:  "arcface over the teacher's frozen classifier, the margin larger where the teacher is surer",
	Source: "Svitov and Alyamkin 2020, arXiv 2003.02586, and its code",
	Formula: `L = mean over i of -log softmax(z_i)[y_i]
z_ik = s·cos θ_ik for k ≠ y_i, cos θ_ik = <ŝ_i, ŵ_k>; z_iy = s·cos(θ_iy + m_i)
m_i = (max - min)·κ_i / max_j κ_j + min, κ_i = <t̂_i, ŵ_yi>, j over the batch
m_i = min for all where no κ_j is positive
ŵ_k: the unit vector of identity k, a row of the teacher's classifier or its class centre; nothing
moves it. Crops of an identity without a vector are left out.`,
	Needs: TeacherEmbedding | Labels | IdentityVectors,
	Rate:  rateOfClasses,
	defaults: margindistillSettings{Proxies: "auto", Own: sampleMargins{
		Scale: 64, Max: 0.5, Min: 0.2, Gradient: exact}},
}

// margindistillSettings tune margindistill; all defaults are the paper's.
type margindistillSettings struct {
	Own     sampleMargins `yaml:",inline"`
	Proxies string        `yaml:"proxies" about:"the vectors of identities: the teacher's classifier, its class centres, or auto"`
}

// sampleMargins are margins that differ from sample to sample.
type sampleMargins struct {
	// Scale is s, positive.
	Scale float64 `yaml:"scale" about:"the length that cosines are stretched to"`
	// Max and Min are margins in radians, of the sample that the teacher is surest of and of
	// one whose embedding is orthogonal to its identity's vector.
	Max float64 `yaml:"max" about:"the margin, in radians, of the sample that the teacher is surest of"`
	Min float64 `yaml:"min" about:"the margin of a sample that is orthogonal to its identity's vector"`
	// Gradient is that of a margin softmax; see [marginSettings].
	Gradient string `yaml:"gradient" about:"of the margin: straight-through or exact"`
}

func (c margindistillSettings) settled() (settings, error) {
	o := c.Own
	m, err := marginSettings{Scale: o.Scale, Margin: o.Max, Gradient: o.Gradient}.settled()
	if err != nil {
		return c, err
	}
	c.Own.Gradient = m.Gradient
	if !finite(o.Min) || o.Min < 0 || o.Min > o.Max {
		return c, fmt.Errorf("margindistill: min %g must be in [0, max], max is %g", o.Min, o.Max)
	}
	return c, validateProxies(c.Proxies)
}

func (c margindistillSettings) build(env Env) (term, error) {
	t, err := newClassTable(margindistillLoss.Name, c.Proxies, env)
	if err != nil {
		return nil, err
	}
	return &margindistill{table: t, c: c.Own}, nil
}

// margindistill is [margindistillLoss] at work. The reference divides by the batch's largest κ
// also where it is zero or negative.
type margindistill struct {
	stateless
	table *classTable
	c     sampleMargins
}

func (*margindistill) Params() []*layer.Param { return nil }

func (l *margindistill) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	c := v.classed(l.table.rows, true, parts)
	if len(c.at) == 0 {
		return zero(s, v.Student), parts
	}
	cosines := l.table.cosines(s, c.student)
	own, margins := s.Gather(cosines, 1, c.column), l.margins(s, c)
	parts.keep(s, "target_cosine", s.Mean(own))
	parts.keep(s, "margin", s.Mean(margins))
	lowered := lowerAngles(s, l.c.Gradient, own, func(angle torch.Tensor) torch.Tensor { return s.Add(angle, margins) })
	return cosinesOf(s, cosines, c.target).entropy(s, lowered, l.c.Scale), parts
}

// margins are the m_i, N×1.
func (l *margindistill) margins(s *torch.Scope, c classed) torch.Tensor {
	own := s.Rows(l.table.unit(s, c.teacher), c.target)
	sure := s.SumDim(s.Mul(c.teacher, own), 1, true)
	most := s.Max(sure)
	positive := s.Greater(most, 0)
	share := s.Div(sure, s.Where(positive, most, s.OnesLike(most)))
	share = s.Where(positive, share, s.ZerosLike(share))
	return s.AddScalar(s.Scale(share, l.c.Max-l.c.Min), l.c.Min)
}
