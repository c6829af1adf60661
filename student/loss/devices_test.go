package loss

import (
	"math"
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Every loss gives on each device what it gives on the processor, step after step, with what it
// remembers, and the same gradients.
func TestLossesOnDevices(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		for name, c := range allLosses(t) {
			got, length := stepsOn(t, e, device, c), 0.0
			want := got
			if device != "cpu" {
				want = stepsOn(t, e, "cpu", c)
			}
			for i, v := range got {
				length = math.Hypot(length, v)
				if !(math.Abs(v-want[i]) <= 1e-5*(1+math.Abs(want[i]))) {
					t.Errorf("%s: value %d is %g, on the processor %g", name, i, v, want[i])
					break
				}
			}
			if !(length > 0) {
				t.Errorf("%s: there is no loss", name)
			}
		}
	})
}

// stepsOn are the values of some steps of a loss on a device, and their gradients.
func stepsOn(t *testing.T, e *torch.Engine, device string, c Config) (values []float64) {
	t.Helper()
	env := testEnv(8)
	env.Device = device
	o, err := New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	s := torchtest.Scope(t, e)
	if err := layer.Materialise(s, device, 7, o.Params()); err != nil {
		t.Fatal(err)
	}
	for step := range 3 {
		p := newProblem(uint64(step), 12, 8)
		p.step = step
		student := torch.FromData(s, device, p.student, p.n, p.d)
		s.RequireGrad(student, true)
		b := p.batch(s, student)
		b.Teacher = s.ToLike(b.Teacher, student)
		value, _ := o.Step(s, b)
		values = append(values, s.Scalar(value))
		s.Backward(value)
		values = append(values, torch.ToData[float64](s, s.Grad(student))...)
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	return values
}
