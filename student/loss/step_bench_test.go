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
	const rows, dim, people = 64, 512, 2000
	for _, name := range []string{"cosine", "unified", "coupleface", "icd", "triplet", "ekd"} {
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
			for ; n < 16384/rows+1; n++ {
				step(n)
			}
			for b.Loop() {
				step(n)
				n++
			}
		})
	}
}
