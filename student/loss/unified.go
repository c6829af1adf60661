package loss

import (
	"fmt"
	"maps"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

var unifiedLoss = Loss{
	Name:   "unified",
	About:  "hard-example-weighted instances (ILED) and relations to a memory bank (RPSD)",
	Source: "after Mishra & Uikey, arXiv 2508.11376; only its abstract is public, so the formulas are ours",
	Formula: `L = L_classifier (optional) + λ_I L_ILED + λ_R · ramp · L_RPSD,  ramp from 0 to 1 over its steps;
  λ_I and λ_R also follow schedules of their own
L_ILED = Σ w_i d_i / Σ w_i,  d_i = 1 - c_i, c_i the cosine to the teacher's embedding, and
  threshold: w_i = 1 + λ_h · clip((d_i - μ - κσ)/σ, 0, cap), μ and σ running statistics of d
  topk: w_i = 1 for the share r of farthest samples, else 0; softmax: w_i ~ exp(d_i/T)
  quality norm: w_i · clip(1 + h (n_i - μ_n)/σ_n, least, most), n_i the length of t_i, h the gain
L_RPSD = half the mean of h_β(R^s_ij - R^t_ij) over pairs of the batch, and half that over
  mined pairs with a memory bank; h_β is Huber's penalty, R are cosines of the student and
  the teacher. Mined are positives (labels), the teacher's hardest negatives and the largest errors.
  Or negatives are the teacher's nearest crops of others (pool), positives class centres (positives_from).
L_classifier: see arcface and cosface.`,
	Needs:    TeacherEmbedding,
	defaults: unifiedSettings{ILED: iledDefaults, RPSD: rpsdDefaults, Margin: arcfaceMargin, Classifier: "none", Sample: 1},
	bare:     true,
}

// unifiedSettings tune the unified loss.
type unifiedSettings struct {
	ILED   iledSettings   `yaml:"iled" about:"instance-level embedding distillation"`
	RPSD   rpsdSettings   `yaml:"rpsd" about:"relation-based pairwise similarity distillation"`
	Margin marginSettings `yaml:"margin" about:"the classifier, if there is one"`
	// Classifier adds a margin softmax, which Margin tunes: none, arcface, cosface.
	Classifier string `yaml:"classifier" about:"margin softmax beside: none, arcface or cosface"`
	// Sample is the share of the identities that take part in a step of that; see [classes].
	Sample float64 `yaml:"sample" about:"share of the identities that take part in a step of it (partial FC), in (0, 1]"`
}

// defaults are those with the same classifier. A margin softmax is so much larger that λ_I
// is 64 beside one.
func (c unifiedSettings) defaults() settings {
	d := unifiedLoss.defaults.(unifiedSettings)
	if c.Classifier != "none" {
		d.ILED.Weight = 64
	}
	if c.Classifier == "cosface" {
		d.Margin = cosfaceMargin
	}
	return d
}

func (c unifiedSettings) settled() (settings, error) {
	c.ILED.Warmup = max(c.ILED.Warmup, 0)
	c.RPSD.Ramp, c.RPSD.Bank, c.RPSD.Delta = max(c.RPSD.Ramp, 0), max(c.RPSD.Bank, 0), max(c.RPSD.Delta, 0)
	switch c.Classifier {
	case "none", "arcface", "cosface":
	default:
		return c, fmt.Errorf("classifier %q is none of none, arcface, cosface", c.Classifier)
	}
	if err := c.ILED.validate(); err != nil {
		return c, err
	}
	if err := c.RPSD.validate(); err != nil {
		return c, err
	}
	var err error
	if c.Margin, err = c.Margin.settled(); err != nil {
		return c, err
	}
	return c, validSample(c.Sample)
}

func (c unifiedSettings) needs() (needs Needs) {
	if c.ILED.Quality == "norm" {
		needs |= Norms
	}
	if c.RPSD.Pool == "neighbours" {
		needs |= Neighbours
	}
	if c.RPSD.PositivesFrom == "centres" {
		needs |= Labels | IdentityVectors
	}
	return needs
}

func (c unifiedSettings) build(env Env) (term, error) {
	if err := bankFits("rpsd.bank", c.RPSD.Bank, env.Dim); c.RPSD.banked() && err != nil {
		return nil, err
	}
	l := &unified{c: c, device: env.Device, steps: env.Steps, iled: newILED(c.ILED), rpsd: newRPSD(c.RPSD, env.Dim)}
	if err := l.rpsd.ask(env); err != nil {
		return nil, err
	}
	if c.Classifier != "none" {
		m, err := newMargin(c.Classifier, c.Margin, c.Sample, env)
		if err != nil {
			return nil, err
		}
		l.classifier = m
	}
	return l, nil
}

// unified is the loss that pipe is made for:
//
//	L = L_classifier (optional) + λ_I · L_ILED + λ_R · ramp · L_RPSD
//
// λ_I and λ_R are the weights times their schedules.
type unified struct {
	c          unifiedSettings
	device     string
	steps      int // of the run
	iled       *ILED
	rpsd       *RPSD
	classifier *margin // nil without labels
}

func (l *unified) Params() []*layer.Param {
	if l.classifier == nil {
		return nil
	}
	return l.classifier.Params()
}

func (l *unified) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	total := zero(s, v.Student)
	if l.classifier != nil {
		t, p := l.classifier.Step(s, v)
		total = s.Add(total, t)
		maps.Copy(parts, p)
		parts.keep(s, "classifier", t)
	}
	p := v.unit()
	parts.know("dropped", float64(p.dropped))
	if len(p.samples) == 0 || s.Err() != nil {
		parts.know("dead", 0)
		return total, parts
	}
	parts.keep(s, "dead", v.dead())
	iled, more := l.iled.step(s, v)
	maps.Copy(parts, more)
	rpsd, more := l.rpsd.step(s, v)
	maps.Copy(parts, more)
	parts.keep(s, "iled", iled)
	parts.keep(s, "rpsd", rpsd)
	total = s.Add(total, s.Scale(iled, l.c.ILED.Weight*l.c.ILED.Schedule.at(v.Step, l.steps)))
	return s.Add(total, s.Scale(rpsd, l.c.RPSD.Weight*l.rpsd.ramp(v.Step)*l.c.RPSD.Schedule.at(v.Step, l.steps))), parts
}

func (l *unified) State(s *torch.Scope) State {
	st := State{}
	l.iled.state(s, st)
	l.rpsd.bank.state(s, st)
	return st
}

func (l *unified) Restore(s *torch.Scope, st State) error {
	if err := l.iled.restore(s, torch.FromData(s, l.device, []float64{0}, 1), st); err != nil {
		return err
	}
	return l.rpsd.bank.restore(s, l.device, st)
}
