package loss

import (
	"maps"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// unified is the loss that pipe is made for:
//
//	L = L_classifier (optional) + λ_I · L_ILED + λ_R · ramp · L_RPSD
type unified struct {
	c          Config
	env        Env
	iled       *ILED
	rpsd       *RPSD
	classifier *margin // nil without labels
}

func newUnified(c Config, env Env) (Loss, error) {
	l := &unified{c: c, env: env, iled: newILED(c.ILED), rpsd: newRPSD(c.RPSD, env)}
	if c.Classifier != "none" {
		m, err := newMargin(c.Classifier, c.Margin, env)
		if err != nil {
			return nil, err
		}
		l.classifier = m
	}
	return l, nil
}

func (l *unified) NeedsTeacher() bool { return true }
func (l *unified) NeedsLabels() bool  { return l.classifier != nil }

func (l *unified) Params() []*layer.Param {
	if l.classifier == nil {
		return nil
	}
	return l.classifier.Params()
}

func (l *unified) Step(s *torch.Scope, b Batch) (torch.Tensor, Parts) {
	parts := Parts{}
	total := zero(s, b.Student)
	if l.classifier != nil {
		t, p := l.classifier.Step(s, b)
		total = s.Add(total, t)
		maps.Copy(parts, p)
		parts["classifier"] = s.Scalar(t)
	}
	p := pair(s, b)
	parts["dropped"], parts["dead"] = float64(p.dropped), float64(p.dead)
	if len(p.samples) == 0 || s.Err() != nil {
		return total, parts
	}
	iled, more := l.iled.step(s, p, b.Step)
	maps.Copy(parts, more)
	rpsd, more := l.rpsd.step(s, p, b.Step)
	maps.Copy(parts, more)
	parts["iled"], parts["rpsd"] = s.Scalar(iled), s.Scalar(rpsd)
	total = s.Add(total, s.Scale(iled, l.c.ILED.Weight))
	return s.Add(total, s.Scale(rpsd, l.c.RPSD.Weight*l.rpsd.ramp(b.Step))), parts
}

func (l *unified) State(s *torch.Scope) State {
	st := State{}
	l.iled.state(st)
	l.rpsd.bank.state(s, st)
	return st
}

func (l *unified) Restore(s *torch.Scope, st State) error {
	if err := l.iled.restore(st); err != nil {
		return err
	}
	return l.rpsd.bank.restore(s, l.env.Device, st)
}
