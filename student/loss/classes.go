package loss

import (
	"fmt"
	"slices"

	"facepipe/internal/vec"
	"facepipe/student/torch"
)

// leastKnown is the share of a dataset's identities that must have a vector: a loss that sees
// fewer of them tells most people apart from hardly anyone.
const leastKnown = 0.5

// proxySources are what `proxies` takes.
var proxySources = []string{"auto", "classifier", "centres"}

func validateProxies(source string) error { return oneOf("proxies", source, proxySources) }

// oneOf is an error if a setting is none of its values.
func oneOf(setting, value string, values []string) error {
	if slices.Contains(values, value) {
		return nil
	}
	return fmt.Errorf("%s %q is none of %v", setting, value, values)
}

// classTable are the vectors ŵ_k of K identities, unit ones that nothing moves: one table of K×d
// float32, 737 MB for 360,000 identities and d = 512. It is not in checkpoints, since it comes
// from the cache again. What is computed with it are N×K numbers at a time: 184 MB each for
// 360,000 identities and a batch of 128, of which a softmax with its gradient has about four and
// a comparison of two softmaxes about eight.
type classTable struct {
	// rows are those of the identities, by label; -1 for one without a vector. It is no class.
	rows    []int32
	n, dim  int
	host    []float32 // until it is on the device
	vectors torch.Tensor
}

// askForProxies fetches the vectors of identities from a source, and refuses what does not fit
// the dataset and the student.
func askForProxies(loss, source string, env Env) (Proxies, error) {
	fail := func(format string, args ...any) (Proxies, error) {
		return Proxies{}, fmt.Errorf("loss "+loss+" "+format, args...)
	}
	if err := env.tellApart(2); err != nil {
		return Proxies{}, err
	}
	if env.Proxies == nil {
		return fail("needs vectors of identities: a teacher's classifier or its class centres; name a --teacher")
	}
	p, err := env.Proxies(source)
	if err != nil {
		return fail("needs vectors of identities: %w", err)
	}
	switch {
	case p.Dim != env.Dim:
		return fail("compares embeddings of %d numbers with the %s's vectors of %d: they must be as long", env.Dim, p.Source, p.Dim)
	case len(p.Vectors) != env.Classes*p.Dim:
		return fail("has labels up to %d, the %s has vectors of %d identities", env.Classes-1, p.Source, len(p.Vectors)/p.Dim)
	}
	return p, nil
}

// newClassTable makes the table of a source. Too many identities without a vector are an error.
func newClassTable(loss, source string, env Env) (*classTable, error) {
	p, err := askForProxies(loss, source, env)
	if err != nil {
		return nil, err
	}
	t := &classTable{rows: make([]int32, env.Classes), dim: p.Dim, host: p.Vectors[:0]}
	for label := range t.rows {
		w := p.Vectors[label*p.Dim:][:p.Dim]
		length := vec.Norm(w)
		if t.rows[label] = -1; !vec.HasDirection(length) {
			continue
		}
		t.rows[label] = int32(t.n)
		t.n++
		for _, x := range w {
			t.host = append(t.host, float32(float64(x)/length)) // never past what is read
		}
	}
	return t, t.enough(loss, p.Source)
}

// enough refuses a table of too few identities.
func (t *classTable) enough(loss, source string) error {
	if t.n >= 2 && float64(t.n) >= leastKnown*float64(len(t.rows)) {
		return nil
	}
	remedy := "embed more of their crops with precompute-teacher"
	if source == "classifier" {
		remedy = "import one whose rows have the dataset's names, or take the class centres (proxies: centres)"
	}
	return fmt.Errorf("loss %s: the %s has vectors of %d of %d identities, which must be %g %% and 2 at least: %s",
		loss, source, t.n, len(t.rows), 100*leastKnown, remedy)
}

// unit is the table (K×d) in the type and on the device of a tensor.
func (t *classTable) unit(s *torch.Scope, like torch.Tensor) torch.Tensor {
	if t.vectors.IsNone() && s.Err() == nil {
		kept := s.Engine().NewScope()
		t.vectors = s.Move(torch.FromDataLike(s, like, t.host, t.n, t.dim), kept)
		t.host = nil
	}
	return s.ToLike(t.vectors, like)
}

// cosines are those of N unit vectors to all ŵ_k, N×K.
func (t *classTable) cosines(s *torch.Scope, x torch.Tensor) torch.Tensor {
	return s.MatMul(x, s.Transpose(t.unit(s, x)))
}

// classed are the samples of a batch that have a class, and a usable teacher embedding where
// one is needed. Without any it has no tensors.
type classed struct {
	student, teacher torch.Tensor // N×d unit vectors in float32 or more; teacher without history
	target           torch.Tensor // classes, int64
	column           torch.Tensor // the same, N×1
	at, class        []int64      // the samples' places in the batch, and classes
}

// classed picks samples, rows being the classes of labels, and counts the others.
func (v *view) classed(rows []int32, needTeacher bool, parts Parts) classed {
	var c classed
	var unlabelled, unknown, dropped float64
	for i, y := range v.Labels {
		switch {
		case y < 0:
			unlabelled++
		case int(y) >= len(rows):
			v.s.Fail("take a step", fmt.Errorf("a crop has the label %d, there are vectors of %d identities", y, len(rows)))
			return classed{}
		case rows[y] < 0:
			unknown++
		case needTeacher && !v.Usable[i]:
			dropped++
		default:
			c.at, c.class = append(c.at, int64(i)), append(c.class, int64(rows[y]))
		}
	}
	parts.know("unlabelled", unlabelled)
	parts.know("without_vector", unknown)
	if needTeacher {
		parts.know("dropped", dropped)
	}
	if len(c.at) == 0 {
		return c
	}
	s, student, teacher := v.s, v.Student, v.Teacher
	if len(c.at) < len(v.Labels) {
		index := intsLike(s, student, c.at)
		student = s.Rows(student, index)
		if needTeacher {
			teacher = s.Rows(teacher, index)
		}
	}
	c.student = s.Unit(wide(s, student))
	if needTeacher {
		c.teacher = s.Detach(s.Unit(s.ToLike(teacher, c.student)))
	}
	c.target = intsLike(s, student, c.class)
	c.column = s.Reshape(c.target, -1, 1)
	return c
}

// logits of cosines N×K are s·cos θ, with the margin applied at the targets.
func (l *margin) logits(s *torch.Scope, cosines torch.Tensor, c classed) torch.Tensor {
	a := cosinesOf(s, cosines, c.target)
	return a.logits(s, l.lowered(s, a.own), l.c.Scale)
}

// rateOfClasses is the peak learning rate that suits losses with a softmax over identities.
const rateOfClasses = 0.1
