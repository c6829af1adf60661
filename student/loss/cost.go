package loss

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// Trial is a step of a loss on made-up embeddings, to measure what it costs.
type Trial struct {
	// Loss is an expression, with default settings.
	Loss string
	// Batch crops have embeddings of Dim numbers, and are of Classes identities, four crops of
	// each. 0 stands for 128, 512 and 2,000.
	Batch, Dim, Classes int
}

func (t Trial) withDefaults() Trial {
	for _, d := range []struct {
		of    *int
		usual int
	}{{&t.Batch, 128}, {&t.Dim, 512}, {&t.Classes, 2000}} {
		if *d.of == 0 {
			*d.of = d.usual
		}
	}
	return t
}

// warmSteps pass what a loss does at first only.
const warmSteps = 12

// Run measures a step of the loss alone, with its gradient: the median of some, once its banks
// are full.
func (t Trial) Run(e *torch.Engine, steps int) (median time.Duration, err error) {
	t = t.withDefaults()
	o, err := New(Config{Name: t.Loss}, t.env())
	if err != nil {
		return 0, err
	}
	s := e.NewScope()
	defer s.Close()
	if err := layer.Materialise(s, "cpu", 1, o.Params()); err != nil {
		return 0, err
	}
	fill := warmSteps
	var took []time.Duration
	for step := 0; step < fill+steps; step++ {
		d, err := t.step(e, o, step)
		if err != nil {
			return 0, fmt.Errorf("loss %s: %w", t.Loss, err)
		}
		if step == 0 && slices.ContainsFunc(slices.Collect(maps.Keys(o.State(s))), func(name string) bool { return strings.Contains(name, "bank") }) {
			fill = mostEntries/t.Batch + 1
		}
		if step >= fill {
			took = append(took, d)
		}
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// env is a run in the midst of which the trial is.
func (t Trial) env() Env {
	return Env{Device: "cpu", Dim: t.Dim, OwnDim: t.Dim, Classes: t.Classes, Steps: warmSteps, Seed: 1,
		Proxies: func(string) (Proxies, error) {
			return Proxies{Source: "classifier", Dim: t.Dim, Vectors: noise(rand.New(rand.NewPCG(7, 7)), t.Classes*t.Dim)}, nil
		}}
}

func noise(rng *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(rng.NormFloat64())
	}
	return v
}

// step takes one step on embeddings that follow from its number.
func (t Trial) step(e *torch.Engine, o *Objective, step int) (time.Duration, error) {
	s := e.NewScope()
	defer s.Close()
	rng := rand.New(rand.NewPCG(uint64(step), 3))
	teacher := noise(rng, t.Batch*t.Dim)
	student := noise(rng, t.Batch*t.Dim)
	b := Batch{Teacher: torch.FromData(s, "cpu", teacher, t.Batch, t.Dim), Usable: Usable(teacher, t.Batch), Mirrored: make([]bool, t.Batch), Step: warmSteps + step}
	for i := range t.Batch {
		identity := (step*t.Batch + i) / 4 % t.Classes
		b.Labels, b.Samples = append(b.Labels, int32(identity)), append(b.Samples, int64(step*t.Batch+i))
		for k := range t.Dim { // students are near their teachers
			student[i*t.Dim+k] = teacher[i*t.Dim+k] + 0.5*student[i*t.Dim+k]
		}
	}
	b.Student = torch.FromData(s, "cpu", student, t.Batch, t.Dim)
	s.RequireGrad(b.Student, true)
	begun := time.Now()
	value, _ := o.Step(s, b)
	s.Backward(value)
	for _, p := range o.Params() {
		p.ClearGradient(s)
	}
	return time.Since(begun), s.Err()
}
