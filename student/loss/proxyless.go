package loss

import (
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var proxylessLoss = Loss{
	Name:   "proxyless",
	About:  "margin softmax over the teacher's own classifier, frozen (ProxylessKD; ArcDistill, CosDistill)",
	Source: "Shi et al. 2020, arXiv 2011.00265; as ArcDistill and CosDistill in Boutros et al. 2024, arXiv 2407.01332",
	Formula: `L = mean over i of -log softmax(z_i)[y_i]
z_ik = s·cos θ_ik for k ≠ y_i, cos θ_ik = <ŝ_i, ŵ_k>
z_iy = s·cos(θ_iy + m) (classifier arcface) or s·(cos θ_iy - m) (cosface)
ŵ_k: the unit vector of identity k, a row of the teacher's classifier or its class centre; nothing
moves it. s: margin.scale, m: margin.margin. Only identities of the dataset are classes; crops of
one without a vector are left out.`,
	Needs:    Labels | IdentityVectors,
	Rate:     rateOfClasses,
	defaults: proxylessSettings{Classifier: "arcface", Margin: differentiating(arcfaceMargin, arcfaceMargin.Margin), Proxies: "auto"},
}

// differentiating is a margin softmax's settings with another margin and its exact gradient.
func differentiating(c marginSettings, m float64) marginSettings {
	c.Margin, c.Gradient = m, exact
	return c
}

// proxylessSettings tune proxyless. s = 64, m = 0.5 for arcface and 0.35 for cosface are from
// the code of ArcDistill and CosDistill, which differentiates the margin.
type proxylessSettings struct {
	// Classifier is the margin softmax, which Margin tunes: arcface, cosface.
	Classifier string         `yaml:"classifier" about:"the margin softmax: arcface or cosface"`
	Margin     marginSettings `yaml:"margin" about:"its scale and margin"`
	// Proxies are where ŵ is from: classifier, centres or, for the first of these that
	// there is, auto.
	Proxies string `yaml:"proxies" about:"the vectors of identities: the teacher's classifier, its class centres, or auto"`
}

func (c proxylessSettings) defaults() settings {
	d := proxylessLoss.defaults.(proxylessSettings)
	if c.Classifier == "cosface" {
		d.Margin = differentiating(cosfaceMargin, cosfaceMargin.Margin)
	}
	return d
}

func (c proxylessSettings) settled() (settings, error) {
	if err := oneOf("classifier", c.Classifier, []string{"arcface", "cosface"}); err != nil {
		return c, err
	}
	if err := validateProxies(c.Proxies); err != nil {
		return c, err
	}
	var err error
	c.Margin, err = c.Margin.settled()
	return c, err
}

func (c proxylessSettings) build(env Env) (term, error) {
	t, err := newClassTable(proxylessLoss.Name, c.Proxies, env)
	if err != nil {
		return nil, err
	}
	return &proxyless{table: t, margin: &margin{kind: c.Classifier, c: c.Margin}}, nil
}

// proxyless is [proxylessLoss] at work.
type proxyless struct {
	stateless
	table  *classTable
	margin *margin // without centres of its own
}

func (*proxyless) Params() []*layer.Param { return nil }

func (l *proxyless) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	c := v.classed(l.table.rows, false, parts)
	if len(c.at) == 0 {
		return zero(s, v.Student), parts
	}
	cosines := l.table.cosines(s, c.student)
	parts.keep(s, "target_cosine", s.Mean(s.Gather(cosines, 1, c.column)))
	return s.CrossEntropy(l.margin.logits(s, cosines, c), c.target), parts
}
