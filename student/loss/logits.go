package loss

import (
	"errors"
	"fmt"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// logitSettings are those that the losses on logits share.
type logitSettings struct {
	// Classifier is the student's own one, trained beside by cross-entropy, whose logits are
	// compared: arcface or cosface. The teacher's logits then have the same margin. With "none"
	// the student's embeddings are compared with the teacher's vectors, without a margin, and
	// there is no cross-entropy.
	Classifier string         `yaml:"classifier" about:"the student's own margin softmax: arcface, cosface, or none to compare with the teacher's vectors alone"`
	Margin     marginSettings `yaml:"margin" about:"scale and margin of the logits"`
	Proxies    string         `yaml:"proxies" about:"the vectors of identities: the teacher's classifier, its class centres, or auto"`
}

func (c logitSettings) settled() (logitSettings, error) {
	err := errors.Join(oneOf("classifier", c.Classifier, []string{"none", "arcface", "cosface"}), validateProxies(c.Proxies))
	if err != nil {
		return c, err
	}
	c.Margin, err = c.Margin.settled()
	return c, err
}

// logitTerm compares the student's logits with the teacher's.
type logitTerm struct {
	stateless
	table *classTable
	head  *margin // has no centres where the table's stand for them
	own   bool    // whether it has
	// compare is what is added to the cross-entropy, of samples that there are.
	compare func(s *torch.Scope, l logits, step int, parts Parts) torch.Tensor
}

// logits are those of the samples in classed, N×K. The teacher's have no history.
type logits struct {
	student, teacher torch.Tensor
	classed          classed
}

func newLogitTerm(loss string, c logitSettings, env Env) (*logitTerm, error) {
	t, err := newClassTable(loss, c.Proxies, env)
	if err != nil {
		return nil, err
	}
	l := &logitTerm{table: t, own: c.Classifier != "none"}
	if !l.own {
		l.head = &margin{kind: "cosface", c: marginSettings{Scale: c.Margin.Scale}} // a margin of 0
		return l, nil
	}
	env.Classes = t.n
	l.head, err = newMargin(c.Classifier, c.Margin, 1, env)
	return l, err
}

func (l *logitTerm) Params() []*layer.Param {
	if !l.own {
		return nil
	}
	return l.head.Params()
}

func (l *logitTerm) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) {
	parts := Parts{}
	c := v.classed(l.table.rows, true, parts)
	if len(c.at) == 0 {
		return zero(s, v.Student), parts
	}
	z := logits{classed: c, teacher: l.head.logits(s, l.table.cosines(s, c.teacher), c)}
	cosines := l.cosines(s, c.student)
	z.student = l.head.logits(s, cosines, c)
	parts.keep(s, "target_cosine", s.Mean(s.Gather(cosines, 1, c.column)))
	total := l.compare(s, z, v.Step, parts)
	parts.keep(s, "logits", total)
	if l.own {
		classifier := s.CrossEntropy(z.student, c.target)
		parts.keep(s, "classifier", classifier)
		total = s.Add(classifier, total)
	}
	return total, parts
}

// cosines are those of the student's embeddings to the vectors that its classifier has.
func (l *logitTerm) cosines(s *torch.Scope, student torch.Tensor) torch.Tensor {
	if !l.own {
		return l.table.cosines(s, student)
	}
	return s.Cosines(student, s.ToLike(l.head.weight.Tensor(), student))
}

// divergence is T² times the mean over rows of KL(softmax(teacher) | softmax(student)), of
// logits that were divided by T.
func divergence(s *torch.Scope, student, teacher torch.Tensor, temperature float64) torch.Tensor {
	return logDivergence(s, s.LogSoftmax(student), s.LogSoftmax(teacher), temperature)
}

// logDivergence is the same of logarithms of probabilities.
func logDivergence(s *torch.Scope, student, teacher torch.Tensor, temperature float64) torch.Tensor {
	rows := s.Shape(student)
	if s.Err() != nil {
		return torch.Tensor{}
	}
	return s.Scale(s.Divergence(student, teacher), temperature*temperature/float64(rows[0]))
}

// validTemperature is an error for a T that does not divide.
func validTemperature(loss string, t float64) error {
	if !finite(t) || t <= 0 {
		return fmt.Errorf("%s.temperature %g is not positive", loss, t)
	}
	return nil
}

// validWeight is an error for a weight that is none.
func validWeight(setting string, w float64) error {
	if !finite(w) || w < 0 {
		return fmt.Errorf("%s %g must be a number that is not negative", setting, w)
	}
	return nil
}
