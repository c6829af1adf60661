package student

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"facepipe/student/checkpoint"
	"facepipe/student/net/layer"
	"facepipe/student/torch"
)

// errDiverged marks a run that has left the path of descent.
var errDiverged = errors.New("training has diverged")

// The guard compares a loss with the median of the last medianWindow, once it has seen
// medianStart of them.
const (
	medianWindow = 101
	medianStart  = 25
)

// guard judges the loss of each step.
type guard struct {
	// limit is how many times the running median a loss may be; 0 does not look.
	limit float64
	// recent is a ring of losses, next the place of the oldest once it is full.
	recent []float64
	next   int
}

// median is that of the recent losses; known is false while there are too few.
func (g *guard) median() (m float64, known bool) {
	if len(g.recent) < medianStart {
		return 0, false
	}
	sorted := slices.Sorted(slices.Values(g.recent))
	return sorted[len(sorted)/2], true
}

// most is the largest loss that the guard lets through.
func (g *guard) most() float64 {
	if m, known := g.median(); known && g.limit > 0 && m > 0 {
		return g.limit * m
	}
	return math.Inf(1)
}

// judge says what is wrong with a loss, "" for nothing, and remembers it.
func (g *guard) judge(loss float64) string {
	if !finite(loss) {
		return "the loss is not finite"
	}
	if loss > g.most() {
		m, _ := g.median()
		return fmt.Sprintf("the loss is more than %g times its running median %.6g", g.limit, m)
	}
	if len(g.recent) < medianWindow {
		g.recent = append(g.recent, loss)
		return ""
	}
	g.recent[g.next] = loss
	g.next = (g.next + 1) % medianWindow
	return ""
}

// state is the ring from the oldest loss on.
func (g *guard) state() []float64 {
	return slices.Concat(g.recent[g.next:], g.recent[:g.next])
}

// restore takes back what state gave.
func (g *guard) restore(losses []float64) {
	g.recent, g.next = slices.Clone(losses[max(0, len(losses)-medianWindow):]), 0
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number is a float64 that JSON can hold whatever its value: one that is not finite is
// a string.
type number float64

// MarshalJSON writes the number, or its name.
func (n number) MarshalJSON() ([]byte, error) {
	if v := float64(n); !finite(v) {
		return json.Marshal(fmt.Sprint(v))
	}
	return json.Marshal(float64(n))
}

// diagnosis is diverged.json: the step at which a run was given up. The parameters have
// not been moved by it.
type diagnosis struct {
	Reason string            `json:"reason"`
	Step   int               `json:"step"` // counted from one, as in the metrics
	Loss   number            `json:"loss"`
	Parts  map[string]number `json:"parts"`
	// Median of the recent losses, 0 if there were few.
	Median       float64 `json:"median"`
	Gradient     number  `json:"gradient"` // length of the whole gradient
	LearningRate float64 `json:"lr"`
	Precision    string  `json:"precision"`
	Scale        float64 `json:"scale,omitempty"` // of the loss, in fp16
	// Parameters (running statistics included) and Gradients that are not finite, in
	// the order of the layers: the first one is where it began. The gradients are those
	// of the whole loss, so there it is the last layer that tells.
	Parameters []string `json:"parameters_not_finite"`
	Gradients  []string `json:"gradients_not_finite"`
	// Rows of the dataset that the step was taken on.
	Rows []int64 `json:"rows"`
}

// Error tells the reason with what a log should have of it; the rest is in the file.
func (d *diagnosis) Error() string {
	text := fmt.Sprintf("step %d: %v: %s (loss %.6g, gradient %.6g", d.Step, errDiverged, d.Reason, float64(d.Loss), float64(d.Gradient))
	for _, list := range []struct {
		what  string
		names []string
	}{{"parameter", d.Parameters}, {"gradient", d.Gradients}} {
		if n := len(list.names); n > 0 {
			text += fmt.Sprintf(", %d %ss not finite from %s on", n, list.what, list.names[0])
		}
	}
	return text + ")"
}

// Is makes a diagnosis an errDiverged.
func (d *diagnosis) Is(target error) bool { return target == errDiverged }

func diagnosisPath(run string) string { return filepath.Join(run, "diverged.json") }

// diagnose describes a step that is given up: what came of it, and which tensors are not finite.
func (r *run) diagnose(reason string, o outcome) error {
	s := r.model.engine.NewScope()
	defer s.Close()
	d := &diagnosis{Reason: reason, Step: o.at + 1, Loss: number(o.loss), Parts: map[string]number{},
		Gradient: number(o.gradient), LearningRate: o.rate, Precision: r.o.Precision, Rows: slices.Clone(o.rows)}
	for name, v := range o.parts {
		d.Parts[name] = number(v)
	}
	d.Median, _ = r.guard.median()
	if r.model.scaler != nil {
		d.Scale = r.model.scaler.Scale
	}
	d.Parameters, d.Gradients = notFinite(s, r.model.params())
	if err := s.Err(); err != nil {
		return errors.Join(d, fmt.Errorf("look for what is not finite: %w", err))
	}
	return d
}

// broken is whether a tensor holds a value that is not finite.
func broken(s *torch.Scope, t torch.Tensor) bool {
	return !finite(s.Scalar(s.Sum(s.Scale(s.Detach(t), 0)))) // 0·v is NaN where v is not finite
}

// notFinite names the parameters, and those whose gradients, hold a value that is not
// finite.
func notFinite(s *torch.Scope, params []*layer.Param) (values, gradients []string) {
	for _, p := range params {
		if broken(s, p.Tensor()) {
			values = append(values, p.Name)
		}
		if !p.Trained {
			continue
		}
		if g := p.Gradient(s); !g.IsNone() && broken(s, g) {
			gradients = append(gradients, p.Name)
		}
	}
	return values, gradients
}

// giveUp writes the diagnosis and says what can be done.
func (r *run) giveUp(d *diagnosis) error {
	path := diagnosisPath(r.o.Out)
	if err := writeJSON(path, d); err != nil {
		return errors.Join(d, fmt.Errorf("write the report: %w", err))
	}
	advice := "begin another run with a lower --lr"
	if r.o.Precision != "fp32" {
		advice += " or --precision fp32"
	}
	if strings.Contains(d.Reason, "median") {
		advice += ", or go on with --resume and a larger --guard"
	}
	files, err := checkpoint.List(r.o.Out)
	if err != nil {
		return errors.Join(d, err)
	}
	good := "there is no checkpoint yet"
	if len(files) > 0 {
		good = "the last good checkpoint is " + files[0]
	}
	return fmt.Errorf("%w; the report is %s, %s; %s", d, path, good, advice)
}

// forgetDiagnosis removes the report of an earlier process, whose step is taken again.
func forgetDiagnosis(run string) error {
	if err := os.Remove(diagnosisPath(run)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
