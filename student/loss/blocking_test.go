package loss

import (
	"testing"

	"facepipe/student/net/layer"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// A loss blocks once at most in a step, with all its settings; those not named here never do. The
// step itself reads its outcome, once.
func TestBlockingCalls(t *testing.T) {
	e := torchtest.Open(t)
	once := map[string]string{
		"triplet": "triplet: {alpha: 4}",
		"ekd":     "{}",
		"adaface": "{}",
		"gkd":     "gkd: {group: adaptive}",
	}
	check := func(name, settings string, most int) {
		t.Helper()
		o, err := New(config(t, name, settings), testEnv(8))
		if err != nil {
			t.Fatal(err)
		}
		s := torchtest.Scope(t, e)
		if err := layer.Materialise(s, "cpu", 1, o.Params()); err != nil {
			t.Fatal(err)
		}
		for step := range 4 {
			p := newProblem(uint64(step), 12, 8)
			b := p.batch(s, torch.FromData(s, "cpu", p.student, p.n, p.d))
			b.Step = step
			before := e.BlockingCalls()
			o.Step(s, b)
			// The first one also asks what the device is good at.
			if n := e.BlockingCalls() - before; s.Err() != nil || step > 0 && n > most || step == 3 && n < most {
				t.Errorf("%s %s: step %d blocks %d times, want %d (%v)", name, settings, step, n, most, s.Err())
			}
		}
	}
	for _, name := range Names() {
		if settings, blocks := once[name]; blocks {
			check(name, settings, 1)
		} else {
			check(name, "{}", 0)
		}
	}
	check("unified", "{rpsd: {bank: 6}, iled: {quality: norm, trim: 0.9, warmup: 0}}", 0)
	check("unified", "{iled: {mode: topk}}", 0)
	check("unified", "rpsd: {pool: neighbours, negatives: 4, positives_from: centres}", 0)
	check("unified", "rpsd: {pool: neighbours, negatives: 4, bank: 40}", 0)
	check("gkd", "gkd: {size: 2}", 0)
}
