// Package loss holds what a student is trained with: the unified loss of ILED and
// RPSD, the plain distillation losses that it is compared with, and margin
// softmax on labels.
//
// Notation: a batch of N samples has raw student embeddings s_i (N×d), raw cached
// teacher embeddings t_i (N×d) and labels y_i; ŝ_i and t̂_i are the unit vectors,
// c_i = <ŝ_i, t̂_i> their cosine. A loss is built from tensor operators, so its
// gradient is autograd's; what is chosen rather than differentiated (weights, mined pairs, running
// statistics) is made of the same operators without a gradient, or, where it depends on the batch's
// samples and labels alone, in plain Go before it goes to the device.
//
// A device is waited for once in a step at most, by four losses: for the similarities among which
// triplets are mined, the thresholds of ekd, the lengths that adaface's margins follow, and the
// size of gkd's adaptive group. All figures for the metrics stay tensors; see [Waiting].
//
// To add a loss, write a file with its [Loss], and give it a line in [All].
package loss

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// term is a loss at work, with what it remembers between steps. Its names of parts,
// parameters and state are its own: the [Objective] tells those of several terms apart.
type term interface {
	// Step adds the loss of a batch to the graph, updates the state, and returns the
	// scalar with its parts. Errors are left in the scope.
	Step(s *torch.Scope, v *view) (torch.Tensor, Parts)
	// Params are the trained tensors that belong to the loss, such as class centres.
	Params() []*layer.Param
	// State lists what a checkpoint must hold besides Params.
	State(s *torch.Scope) State
	// Restore takes back what State gave.
	Restore(s *torch.Scope, st State) error
}

// stateless is part of terms that remember nothing but what is trained.
type stateless struct{}

func (stateless) State(*torch.Scope) State          { return State{} }
func (stateless) Restore(*torch.Scope, State) error { return nil }

// formula is a term that remembers and trains nothing.
type formula func(s *torch.Scope, v *view) (torch.Tensor, Parts)

func (f formula) Step(s *torch.Scope, v *view) (torch.Tensor, Parts) { return f(s, v) }
func (formula) Params() []*layer.Param                               { return nil }
func (formula) State(*torch.Scope) State                             { return State{} }
func (formula) Restore(*torch.Scope, State) error                    { return nil }

// Env is what a loss must know of the run.
type Env struct {
	Device string // "cpu", "cuda:0"
	// Dim is the length of the embeddings that are compared with the teacher's, OwnDim
	// that of the student's own.
	Dim, OwnDim int
	// Classes is the number of identities to tell apart: of the dataset or, where it has a
	// name, of the split.
	Classes int
	Split   string
	// Steps of the whole run.
	Steps int
	// Teachers has, by their names, those that a term may ask for by @. What is said of them
	// stands in place of Dim, Proxies and Neighbours.
	Teachers map[string]Teacher
	// Seed of the run, of what a loss draws in a step.
	Seed uint64
	// Proxies gives the vectors of identities from a source: "classifier", "centres" or, for
	// the first of these that there is, "auto". nil without a teacher.
	Proxies func(source string) (Proxies, error)
	// Neighbours prepares to give the teacher's nearest crops of other identities, at most k of
	// each sample. nil without a teacher.
	Neighbours func(k int) (func(samples []int64) (Near, error), error)
}

// Near are crops near some samples, by the teacher.
type Near struct {
	// Vectors are the teacher's raw embeddings of crops that differ, Crops×Dim, not mirrored. The
	// loss may change them.
	Vectors []float32
	// Known tells of each of those whether its identity is known.
	Known []bool
	// Of are, for each sample, the places of its nearest among those, the nearest first.
	Of [][]int
}

// tellApart is an error where there are fewer identities than a loss needs.
func (e Env) tellApart(least int) error {
	if e.Classes >= least {
		return nil
	}
	where := "dataset"
	if e.Split != "" {
		where = "split " + e.Split
	}
	return fmt.Errorf("needs at least %d identities, the %s has %d", least, where, e.Classes)
}

// Teacher is what a loss must know of one of several teachers.
type Teacher struct {
	Dim        int
	Proxies    func(source string) (Proxies, error)
	Neighbours func(k int) (func(samples []int64) (Near, error), error)
}

// Proxies are vectors that stand for identities in the teacher's space.
type Proxies struct {
	// Source is where they are from: "classifier" or "centres".
	Source string
	// Dim is the length of a vector.
	Dim int
	// Vectors are as the source has them, Classes×Dim, by label; zeros for an identity that it
	// does not know, of which there are Missing. The loss may change them.
	Vectors []float32
	Missing int
}

// Objective is what a student is trained with: the sum of its terms.
type Objective struct{ terms []member }

// member is a term of an objective. Its names begin with the prefix there.
type member struct {
	term
	prefix string
	own    bool
	// teacher is the one that it learns from, "" for the run's.
	teacher string
	// weight is the factor at a step.
	weight func(step int) float64
}

// New makes the objective that c asks for. Unknown names and impossible settings are
// errors.
func New(c Config, env Env) (*Objective, error) {
	terms, err := c.settled()
	if err != nil {
		return nil, err
	}
	o := &Objective{}
	for _, t := range terms {
		prefix := t.Key() + "."
		if t.loss.bare && len(terms) == 1 {
			prefix = ""
		}
		if err := o.add(t, env, prefix); err != nil {
			return nil, fmt.Errorf("loss %s: %w", t.Key(), err)
		}
	}
	return o, nil
}

// add makes a loss with its settings a term, whose names begin with prefix.
func (o *Objective) add(one settledTerm, env Env, prefix string) error {
	if one.Teacher != "" {
		teacher, known := env.Teachers[one.Teacher]
		if !known {
			return fmt.Errorf("the run has no teacher %s: name it by --teacher, too (it has %s)", one.Teacher,
				cmp.Or(strings.Join(slices.Sorted(maps.Keys(env.Teachers)), ", "), "none to choose from"))
		}
		env.Dim, env.Proxies, env.Neighbours = teacher.Dim, teacher.Proxies, teacher.Neighbours
	}
	if one.loss.Own {
		env.Dim = env.OwnDim
	}
	t, err := one.settings.build(env)
	if err != nil {
		return err
	}
	for _, p := range t.Params() {
		p.Name = prefix + p.Name
	}
	o.terms = append(o.terms, member{t, prefix, one.loss.Own, one.Teacher, func(step int) float64 {
		return one.Weight * one.schedule.at(step, env.Steps)
	}})
	return nil
}

// LooksAtOwn is whether a term wants [Batch.Own].
func (o *Objective) LooksAtOwn() bool {
	return slices.ContainsFunc(o.terms, func(m member) bool { return m.own })
}

// Step adds the loss of a batch to the graph, updates the state, and returns the scalar
// with its parts. Errors are left in the scope.
func (o *Objective) Step(s *torch.Scope, b Batch) (torch.Tensor, Parts) {
	views := viewsOf(s, b)
	var total torch.Tensor
	parts := Parts{}
	for _, m := range o.terms {
		value, figures := m.Step(s, views.of(m))
		if s.Err() != nil {
			return value, parts
		}
		if len(o.terms) > 1 {
			parts.keep(s, strings.TrimSuffix(m.prefix, "."), value)
		}
		if w := m.weight(b.Step); w != 1 {
			value = s.Scale(value, w)
		}
		if total.IsNone() {
			total = value
		} else {
			total = s.Add(total, value)
		}
		for name, f := range figures {
			parts[m.prefix+name] = f
		}
	}
	return total, parts
}

// Params are the trained tensors that belong to the terms.
func (o *Objective) Params() []*layer.Param {
	var params []*layer.Param
	for _, m := range o.terms {
		params = append(params, m.Params()...)
	}
	return params
}

// State lists what a checkpoint must hold besides Params.
func (o *Objective) State(s *torch.Scope) State {
	all := State{}
	for _, m := range o.terms {
		maps.Copy(all, m.State(s).under(m.prefix))
	}
	return all
}

// Restore takes back what State gave.
func (o *Objective) Restore(s *torch.Scope, all State) error {
	for _, m := range o.terms {
		if err := m.Restore(s, all.within(m.prefix)); err != nil {
			return err
		}
	}
	return nil
}
