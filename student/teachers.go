package student

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"facepipe/internal/vec"
	"facepipe/store"
	"facepipe/store/cache"
	"facepipe/store/derived"
	"facepipe/student/data"
	"facepipe/student/loss"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// TeacherNames are names of teacher caches, by commas; "" is none. As the value of a flag that
// is given several times they add up.
type TeacherNames string

// GetSlice lists the names.
func (t *TeacherNames) GetSlice() []string {
	if *t == "" {
		return nil
	}
	return strings.Split(string(*t), ",")
}

// Replace makes names the list.
func (t *TeacherNames) Replace(names []string) error {
	*t = TeacherNames(strings.Join(names, ","))
	return nil
}

// Append adds a name.
func (t *TeacherNames) Append(name string) error { return t.Replace(append(t.GetSlice(), name)) }

// Set adds names, by commas.
func (t *TeacherNames) Set(text string) error { return t.Append(text) }

func (t *TeacherNames) String() string { return string(*t) }

// Type is what a flag's help calls a value.
func (*TeacherNames) Type() string { return "name" }

// UnmarshalYAML reads names by commas, or a list.
func (t *TeacherNames) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		var names []string
		if err := n.Decode(&names); err != nil {
			return err
		}
		return t.Replace(names)
	}
	return n.Decode((*string)(t))
}

// teachers are the caches that a student learns from.
type teachers struct {
	names  []string
	dims   []int // of their embeddings
	caches []*cache.Cache
	// alignments turn unit embeddings into the space of their mean: nil for the reference,
	// whose space it is, and where no loss asks for a mean.
	alignments []*derived.Alignment
	// mean says that a loss learns from the mean of several.
	mean bool
	// asked are the names that losses learn from by @.
	asked []string
	// supply gives losses what else they ask for; nil where nothing is to be had.
	supply *supply
}

// openTeachers opens the caches.
func openTeachers(ds *store.Dataset, o *Options) (t teachers, err error) {
	t.names, t.asked = o.Teacher.GetSlice(), o.Loss.Teachers()
	for i, name := range t.names {
		if slices.Contains(t.names[:i], name) {
			return t, fmt.Errorf("%w: teacher %s is named twice", ErrUsage, name)
		}
		c, err := cache.Open(ds, name)
		if err != nil {
			return t, err
		}
		t.caches, t.dims = append(t.caches, c), append(t.dims, c.Info().Dim)
	}
	for _, name := range t.asked {
		if !slices.Contains(t.names, name) {
			return t, fmt.Errorf("%w: loss %s learns from teacher %s: give --teacher %s, too", ErrUsage, o.Loss.Canonical(), name, name)
		}
	}
	t.alignments = make([]*derived.Alignment, len(t.caches))
	t.mean = len(t.caches) > 1 && o.Loss.Needs("")&loss.TeacherEmbedding != 0
	return t, nil
}

// flip is whether all have embeddings of mirrored crops.
func (t *teachers) flip() bool {
	return !slices.ContainsFunc(t.caches, func(c *cache.Cache) bool { return !c.Info().Flip })
}

// fingerprint identifies all of them, "" without any.
func (t *teachers) fingerprint() string {
	var all []string
	for _, c := range t.caches {
		all = append(all, c.Info().Fingerprint)
	}
	return strings.Join(all, "+")
}

// reference is the place of the one in whose space the mean is: the first of those with the
// longest embeddings.
func (t *teachers) reference() int { return slices.Index(t.dims, slices.Max(t.dims)) }

// dim is the length of what terms without @ learn from, 0 without.
func (t *teachers) dim() int {
	if len(t.dims) == 0 || len(t.dims) > 1 && !t.mean {
		return 0
	}
	return slices.Max(t.dims)
}

// align turns the teachers to the reference, and says how well that goes.
func (t *teachers) align(ctx context.Context, o *Options) (notes []string, err error) {
	if !t.mean {
		return nil, nil
	}
	to := t.caches[t.reference()]
	for i, c := range t.caches {
		if c == to {
			continue
		}
		a, err := derived.OpenAlignment(ctx, c, to, o.Progress)
		if err != nil {
			return nil, err
		}
		t.alignments[i] = a
		notes = append(notes, fmt.Sprintf("teacher %s is turned to %s: mean cosine %.4f over %d crops", t.names[i], to.Info().Name, a.Cosine, a.Pairs))
	}
	return notes, nil
}

// env are the teachers that terms may ask for.
func (t *teachers) env() map[string]loss.Teacher {
	env := map[string]loss.Teacher{}
	for i, name := range t.names {
		env[name] = t.of(i)
	}
	return env
}

// of is the one at a place.
func (t *teachers) of(i int) loss.Teacher {
	env := loss.Teacher{Dim: t.dims[i]}
	if t.supply != nil {
		env.Proxies, env.Neighbours = t.supply.vectors(i), t.supply.neighbours(i)
	}
	return env
}

// has is what the data have for the terms of a teacher, "" for those without @. labels says
// that there are identities.
func (t *teachers) has(teacher string, labels bool) (has loss.Needs) {
	if len(t.caches) > 0 {
		has |= loss.TeacherEmbedding
		if t.flip() {
			has |= loss.MirroredEmbedding
		}
	}
	if labels {
		has |= loss.Labels
	}
	if len(t.caches) == 0 || len(t.caches) > 1 && teacher == "" {
		return has
	}
	has |= loss.Neighbours
	if labels {
		has |= loss.IdentityVectors // its class centres at least
	}
	// Where lengths are all one but for the rounding of a model in half precision, they say nothing.
	if least, most := t.caches[max(0, slices.Index(t.names, teacher))].Norms(); most > 1.01*least {
		has |= loss.Norms
	}
	return has
}

// targets make what losses learn from of a batch's rows.
type targets struct {
	names     []string
	dims      []int
	rotations []torch.Tensor // To×From, float32; none for the reference
	mean      bool
	// bridges map the student's embedding to the size of a teacher that a term asks for by @,
	// nil where they agree. Other teachers are not among them.
	bridges map[string]*layer.Param
}

// newTargets lays out what terms with teachers of their own take. dim is the student's.
func newTargets(t *teachers, dim int) *targets {
	m := &targets{names: t.names, dims: t.dims, mean: t.mean, bridges: map[string]*layer.Param{}, rotations: make([]torch.Tensor, len(t.names))}
	for i, own := range t.dims {
		if !slices.Contains(t.asked, t.names[i]) {
			continue
		}
		m.bridges[t.names[i]] = nil
		if own != dim {
			m.bridges[t.names[i]] = layer.NewParam("bridge@"+t.names[i]+".weight", []int{own, dim}, layer.Spread(dim))
		}
	}
	return m
}

// rotate hands the alignments to a device.
func (m *targets) rotate(s *torch.Scope, device string, t *teachers) {
	for i, a := range t.alignments {
		if a != nil {
			m.rotations[i] = torch.FromData(s, device, a.Rotation, a.To, a.From)
		}
	}
}

// params are the bridges, in the order of the teachers.
func (m *targets) params() []*layer.Param {
	var list []*layer.Param
	for _, name := range m.names {
		if p := m.bridges[name]; p != nil {
			list = append(list, p)
		}
	}
	return list
}

// of fills in what the losses learn from a batch. y are the student's embeddings.
func (m *targets) of(s *torch.Scope, device string, b *data.Batch, y torch.Tensor, in *loss.Batch) {
	if len(b.Teachers) == 0 {
		return
	}
	var sum torch.Tensor
	n := len(b.Rows)
	counts := make([]float64, n)
	for i, own := range b.Teachers {
		usable := loss.Usable(own, n)
		teacher := m.embeddings(s, device, b, i)
		bridge, asked := m.bridges[m.names[i]]
		if asked {
			student := y
			if bridge != nil {
				student = s.Linear(y, bridge.Tensor())
			}
			if in.Targets == nil {
				in.Targets = map[string]loss.Target{}
			}
			in.Targets[m.names[i]] = loss.Target{Student: student, Teacher: teacher, Usable: usable}
		}
		switch {
		case len(m.names) == 1:
			in.Teacher, in.Usable = teacher, usable
		case m.mean:
			unit := torch.FromData(s, device, units(own, n, usable, counts), n, m.dims[i])
			if r := m.rotations[i]; !r.IsNone() {
				unit = s.MatMul(unit, s.Transpose(r))
			}
			if sum.IsNone() {
				sum = unit
			} else {
				sum = s.Add(sum, unit)
			}
		}
	}
	if m.mean {
		in.Usable = make([]bool, n)
		for i, c := range counts {
			in.Usable[i] = c > 0
			counts[i] = 1 / math.Max(c, 1)
		}
		in.Teacher = s.Mul(sum, s.ToLike(torch.FromDataLike(s, sum, counts, n, 1), sum))
	}
}

// embeddings are a batch's, by the teacher at a place.
func (m *targets) embeddings(s *torch.Scope, device string, b *data.Batch, i int) torch.Tensor {
	if slot, ok := b.Slot.(*torch.Slot); ok {
		return s.View(slot, torch.Float32, b.Layout.Teachers[i], b.Layout.N, m.dims[i])
	}
	return torch.FromData(s, device, b.Teachers[i], len(b.Rows), m.dims[i])
}

// units are the unit vectors of n rows, zeros for those that are not usable; counts is raised
// by 1 for the others.
func units(rows []float32, n int, usable []bool, counts []float64) []float32 {
	out := make([]float32, len(rows))
	dim := len(rows) / n
	for i := range n {
		if !usable[i] {
			continue
		}
		if unit, ok := vec.Unit(rows[i*dim : (i+1)*dim]); ok {
			copy(out[i*dim:], unit)
			counts[i]++
		}
	}
	return out
}
