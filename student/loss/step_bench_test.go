package loss

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// A step of a loss on embeddings of 512 numbers, with its gradient, once the bank is full:
// what a loss adds to a training step.
func BenchmarkStep(b *testing.B) {
	const dim, people = 512, 2000
	for _, tt := range []struct {
		name string
		rows int
	}{
		{"cosine", 128}, {"unified", 128}, {"coupleface", 128}, {"icd", 128}, {"triplet", 128}, {"ekd", 128},
		{"hfc", 128}, {"angular", 128}, {"unit-l2", 128}, {"sp", 128}, {"cckd", 128}, {"pkt", 128}, {"darkrank", 128},
		{"rkd", 128}, {"rkd", 512},
	} {
		name, rows := tt.name, tt.rows
		b.Run(fmt.Sprintf("%s/batch=%d", name, rows), func(b *testing.B) {
			e := torchtest.Open(b)
			l, err := New(Config{Name: name}, Env{Device: "cpu", Dim: dim, Classes: people})
			if err != nil {
				b.Fatal(err)
			}
			s := e.NewScope()
			defer s.Close()
			rng := rand.New(rand.NewPCG(1, 2))
			vectors := func() []float32 {
				v := make([]float32, rows*dim)
				for i := range v {
					v[i] = float32(rng.NormFloat64())
				}
				return v
			}
			step := func(n int) {
				batch := Batch{Step: n, Samples: make([]int64, rows), Labels: make([]int32, rows)}
				for i := range rows {
					batch.Samples[i], batch.Labels[i] = int64(n*rows+i), rng.Int32N(people)
				}
				batch.Student = torch.FromData(s, "cpu", vectors(), rows, dim)
				teacher := vectors()
				batch.Teacher, batch.Usable = torch.FromData(s, "cpu", teacher, rows, dim), Usable(teacher, rows)
				s.RequireGrad(batch.Student, true)
				value, _ := l.Step(s, batch)
				s.Backward(value)
				if err := s.Err(); err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
			n := 0
			fill := 1
			if name == "unified" {
				fill = mostEntries/rows + 1
			}
			for ; n < fill; n++ {
				step(n)
			}
			for b.Loop() {
				step(n)
				n++
			}
		})
	}
}
