// Package loss holds what a student is trained with: the unified loss of ILED and
// RPSD, the plain distillation losses that it is compared with, and margin
// softmax on labels.
//
// Notation: a batch of N samples has raw student embeddings s_i (N×d), raw cached
// teacher embeddings t_i (N×d) and labels y_i; ŝ_i and t̂_i are the unit vectors,
// c_i = <ŝ_i, t̂_i> their cosine. A loss is built from tensor operators, so its
// gradient is autograd's; what is chosen rather than differentiated (weights,
// mined pairs, running statistics) is plain Go on copies of the values.
package loss

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strings"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// Batch is what a loss sees of one step.
type Batch struct {
	// Student holds the raw embeddings N×d, with their history.
	Student torch.Tensor
	// Teacher holds the raw cached embeddings N×d; none when the loss needs none.
	Teacher torch.Tensor
	// Samples are the dataset's row numbers: the original and the mirrored crop of
	// one face share theirs.
	Samples []int64
	// Labels are identity numbers, -1 where the identity is unknown.
	Labels []int32
	// Step counts the optimizer steps from zero.
	Step int
}

// Parts are the named figures of one step, for the metrics.
type Parts map[string]float64

// Loss is a training objective with whatever state it carries between steps.
type Loss interface {
	// Step adds the loss of a batch to the graph, updates the state, and returns
	// the scalar with its parts. Errors are left in the scope.
	Step(s *torch.Scope, b Batch) (torch.Tensor, Parts)
	// Params are the trained tensors that belong to the loss, such as class centres.
	Params() []*layer.Param
	// State lists what a checkpoint must hold besides Params.
	State(s *torch.Scope) State
	// Restore takes back what State gave.
	Restore(s *torch.Scope, st State) error
	// NeedsTeacher and NeedsLabels say what the dataset must offer.
	NeedsTeacher() bool
	NeedsLabels() bool
}

// State is the memory of a loss between steps, by name.
type State map[string]Array

// Array is one named block of a state: numbers of exactly one kind, with a shape.
type Array struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
	Int64   []int64
}

// Config chooses and tunes a loss. The zero value of a field that has a default
// means the default; see [Config.withDefaults].
type Config struct {
	// Name is one of [Names].
	Name string `json:"name" yaml:"name"`
	// ILED and RPSD tune the unified loss.
	ILED ILEDConfig `json:"iled" yaml:"iled"`
	RPSD RPSDConfig `json:"rpsd" yaml:"rpsd"`
	// Margin tunes arcface and cosface, alone or within the unified loss.
	Margin MarginConfig `json:"margin" yaml:"margin"`
	// Classifier adds a margin softmax to the unified loss: none, arcface, cosface.
	Classifier string `json:"classifier" yaml:"classifier"`
}

// Env is what a loss must know of the run.
type Env struct {
	Device  string // "cpu", "cuda:0"
	Dim     int    // length of the embeddings that the loss compares
	Classes int    // number of identities in the dataset
}

// Names lists the losses.
func Names() []string { return []string{"unified", "cosine", "l2", "arcface", "cosface"} }

// New builds a loss. Unknown names and impossible settings are errors.
func New(c Config, env Env) (Loss, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c = c.withDefaults()
	switch c.Name {
	case "unified":
		return newUnified(c, env)
	case "cosine":
		return stateless{cosine}, nil
	case "l2":
		return stateless{rawL2}, nil
	}
	return newMargin(c.Name, c.Margin, env) // arcface or cosface
}

// Resolved is the configuration with every default written out.
func (c Config) Resolved() Config { return c.withDefaults() }

func (c Config) withDefaults() Config {
	if c.Classifier == "" {
		c.Classifier = "none"
	}
	c.ILED = c.ILED.withDefaults(c.Classifier != "none")
	c.RPSD = c.RPSD.withDefaults()
	c.Margin = c.Margin.withDefaults(c.Name == "cosface" || c.Classifier == "cosface")
	return c
}

// Validate reports settings that make no loss, whatever the dataset.
func (c Config) Validate() error {
	c = c.withDefaults()
	if !slices.Contains(Names(), c.Name) {
		return fmt.Errorf("unknown loss %q (known: %s)", c.Name, strings.Join(Names(), ", "))
	}
	switch c.Classifier {
	case "none", "arcface", "cosface":
	default:
		return fmt.Errorf("classifier %q is none of none, arcface, cosface", c.Classifier)
	}
	if err := c.ILED.validate(); err != nil {
		return err
	}
	if err := c.RPSD.validate(); err != nil {
		return err
	}
	return c.Margin.validate()
}

// finite is whether all of some settings are numbers.
func finite(settings ...float64) bool {
	return !slices.ContainsFunc(settings, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// or gives v, or the default when v is zero.
func or[T int | float64 | string](v, fallback T) T {
	if v == *new(T) {
		return fallback
	}
	return v
}

// minNorm is the length below which a teacher embedding carries no direction.
const minNorm = 1e-6

// unitPair is a batch reduced to the samples with a usable teacher embedding.
type unitPair struct {
	student, teacher torch.Tensor // unit rows ŝ, t̂
	samples          []int64
	labels           []int32
	dropped          int // samples without a finite, non-zero teacher embedding
	dead             int // student embeddings shorter than 1e-12: they have no gradient
}

// pair normalises both sides and drops samples that the teacher cannot judge.
func pair(s *torch.Scope, b Batch) unitPair {
	keep := usable(s.Floats(b.Teacher), len(b.Samples))
	p := unitPair{samples: b.Samples, labels: b.Labels, dropped: len(b.Samples) - len(keep)}
	student, teacher := b.Student, b.Teacher
	if p.dropped > 0 && len(keep) > 0 {
		index := intsLike(s, student, keep)
		student, teacher = s.Rows(student, index), s.Rows(teacher, index)
		p.samples, p.labels = pick(b.Samples, keep), pick(b.Labels, keep)
	}
	if len(keep) == 0 {
		p.samples, p.labels = nil, nil
		return p
	}
	p.student = s.Unit(student)
	p.teacher = s.Detach(s.Unit(s.To(teacher, s.DType(student))))
	p.dead = countDead(s.Floats(student), len(p.samples))
	return p
}

// usable lists the rows that are finite and longer than minNorm.
func usable(embeddings []float32, n int) []int64 {
	var keep []int64
	for i := range n {
		if length := rowLength(embeddings, n, i); length >= minNorm && !math.IsInf(length, 0) {
			keep = append(keep, int64(i))
		}
	}
	return keep
}

func countDead(embeddings []float32, n int) int {
	dead := 0
	for i := range n {
		if rowLength(embeddings, n, i) < 1e-12 {
			dead++
		}
	}
	return dead
}

// rowLength is the Euclidean length of row i of n; NaN if the row holds one.
func rowLength(embeddings []float32, n, i int) float64 {
	d := len(embeddings) / max(n, 1)
	sum := 0.0
	for _, v := range embeddings[i*d : (i+1)*d] {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}

func pick[T any](all []T, rows []int64) []T {
	out := make([]T, len(rows))
	for k, i := range rows {
		out[k] = all[i]
	}
	return out
}

// zero is a loss of nothing that still connects to the graph, so that Backward
// finds a gradient of zero instead of none.
func zero(s *torch.Scope, student torch.Tensor) torch.Tensor {
	// Zero times the sum would be NaN for a NaN student; an empty sum is not.
	return s.Sum(s.Slice(student, 0, 0, 0))
}

// intsLike makes an int64 index on the device of a tensor.
func intsLike(s *torch.Scope, like torch.Tensor, v []int64) torch.Tensor {
	return s.ToDeviceOf(torch.FromData(s, "cpu", v, len(v)), like)
}

// floatsLike makes a vector of the type and on the device of a tensor.
func floatsLike(s *torch.Scope, like torch.Tensor, v []float64) torch.Tensor {
	return s.ToLike(torch.FromData(s, "cpu", v, len(v)), like)
}

// stateless is a loss that is a formula of the batch and the teacher, no more.
type stateless struct {
	formula func(s *torch.Scope, b Batch) (torch.Tensor, Parts)
}

func (l stateless) Step(s *torch.Scope, b Batch) (torch.Tensor, Parts) { return l.formula(s, b) }
func (stateless) Params() []*layer.Param                               { return nil }
func (stateless) State(*torch.Scope) State                             { return State{} }
func (stateless) Restore(*torch.Scope, State) error                    { return nil }
func (stateless) NeedsTeacher() bool                                   { return true }
func (stateless) NeedsLabels() bool                                    { return false }

// cosine is feature consistency: the mean of 1 - c_i.
func cosine(s *torch.Scope, b Batch) (torch.Tensor, Parts) {
	p := pair(s, b)
	if len(p.samples) == 0 {
		return zero(s, b.Student), Parts{"dropped": float64(p.dropped)}
	}
	mean := s.Mean(distance(s, p))
	return mean, Parts{"cosine": 1 - s.Scalar(mean), "dropped": float64(p.dropped)}
}

// distance is d_i = 1 - c_i in [0, 2], half the squared distance of the unit vectors.
func distance(s *torch.Scope, p unitPair) torch.Tensor {
	return s.AddScalar(s.Scale(s.SumDim(s.Mul(p.student, p.teacher), 1, false), -1), 1)
}

// rawL2 is the mean over all elements of (s - t)², on raw embeddings. Teacher
// rows that are not finite are left out.
func rawL2(s *torch.Scope, b Batch) (torch.Tensor, Parts) {
	keep := usable(s.Floats(b.Teacher), len(b.Samples))
	dropped := len(b.Samples) - len(keep)
	if len(keep) == 0 {
		return zero(s, b.Student), Parts{"dropped": float64(dropped)}
	}
	student, teacher := b.Student, s.ToLike(b.Teacher, b.Student)
	if dropped > 0 {
		index := intsLike(s, student, keep)
		student, teacher = s.Rows(student, index), s.Rows(teacher, index)
	}
	e := s.Sub(student, teacher)
	return s.Mean(s.Mul(e, e)), Parts{"dropped": float64(dropped)}
}

// sortedKeys gives the names of a state in order, for messages.
func sortedKeys(st State) []string {
	names := make([]string, 0, len(st))
	for n := range st {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

// take fetches one array of a state and checks its length.
func (st State) take(name string, length int) (Array, error) {
	a, ok := st[name]
	if !ok {
		return a, fmt.Errorf("loss state has no %q (it has %v)", name, sortedKeys(st))
	}
	if n := len(a.Float32) + len(a.Float64) + len(a.Int64); n != length {
		return a, fmt.Errorf("loss state %q has %d values, want %d", name, n, length)
	}
	return a, nil
}
