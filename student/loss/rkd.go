package loss

import (
	"fmt"

	"facepipe/student/torch"
)

var rkdLoss = Loss{
	Name:   "rkd",
	About:  "relational distillation: distances within a batch, and the angles of its triangles, are the teacher's",
	Source: "Park et al., CVPR 2019, arXiv 1904.05068, eqs. 4-9; weights from the authors' code and TFace, rkd.py",
	Formula: `L = w_d L_d + w_a L_a,  h(e) = e²/2 for |e| <= 1, |e| - 1/2 elsewhere
L_d = mean over all i, j of h(D^s_ij/μ^s - D^t_ij/μ^t)
L_a = mean over all i, j, k of h(A^s_ijk - A^t_ijk)
D_ij = |f_i - f_j| on raw embeddings, μ the mean of the D_ij > 0;
A_ijk = cosine of the angle at f_i between f_j and f_k, 0 where one of them is f_i.
s is the student, t the teacher. Moving, rotating or scaling all embeddings changes nothing.
Defaults (code): w_d = 25, w_a = 50. Equal embeddings have no angle and no gradient.`,
	Needs:    TeacherEmbedding,
	defaults: rkdSettings{Distance: 25, Angle: 50},
}

// rkdSettings tune relational knowledge distillation on raw embeddings f:
//
//	L   = w_d L_d + w_a L_a
//	L_d = 1/N² Σ_ij h(D^s_ij/μ^s - D^t_ij/μ^t),   D_ij = |f_i - f_j|, μ the mean of the D_ij > 0
//	L_a = 1/N³ Σ_ijk h(A^s_ijk - A^t_ijk),        A_ijk = <e_ij, e_ik>, e_ij = (f_j - f_i)/D_ij
//
// where h is the Huber penalty with β = 1, and the student's mean is differentiated, as in the
// authors' code. Their code divides the difference of equal embeddings by 1e-12, which makes
// the gradient as large; here a pair nearer than 1e-4 of the mean has no direction: e_ij = 0
// without gradient. It needs the teacher's embedding alone. Memory: some 20·max(N², 2^18)
// numbers, forwards and backwards, where the formula read literally takes N³ of them.
type rkdSettings struct {
	// Distance and Angle are w_d and w_a, of which one is positive. With 0 a term is left out,
	// with its cost.
	Distance float64 `yaml:"distance_weight" about:"w_d, the weight of distances"`
	Angle    float64 `yaml:"angle_weight" about:"w_a, the weight of angles; 0 saves their cost, N³"`
}

func (c rkdSettings) settled() (settings, error) {
	switch {
	case !finite(c.Distance, c.Angle) || c.Distance < 0 || c.Angle < 0:
		return c, fmt.Errorf("distance_weight %g and angle_weight %g must be numbers of 0 or more", c.Distance, c.Angle)
	case c.Distance == 0 && c.Angle == 0:
		return c, fmt.Errorf("distance_weight and angle_weight are both 0: nothing is left")
	}
	return c, nil
}

func (c rkdSettings) build(Env) (term, error) { return paired(c.step), nil }

func (c rkdSettings) step(s *torch.Scope, v *view, parts Parts) torch.Tensor {
	p := v.raw()
	student, teacher := shapeOf(s, p.student), shapeOf(s, s.Detach(p.teacher))
	var distances, angular torch.Tensor
	if c.Distance > 0 {
		l := s.Huber(student.relative(s), teacher.relative(s), 1)
		parts.keep(s, "distances", l)
		distances = s.Scale(l, c.Distance)
	}
	if c.Angle > 0 {
		l := angles(s, student, teacher, len(p.samples))
		parts.keep(s, "angles", l)
		angular = s.Scale(l, c.Angle)
	}
	switch {
	case c.Angle == 0:
		return distances
	case c.Distance == 0:
		return angular
	}
	return s.Add(distances, angular)
}

// shape is what RKD compares of embeddings: their distances D, N×N, and the mean of those that
// are not 0, or 1 if all are.
type shape struct{ distance, mean torch.Tensor }

func shapeOf(s *torch.Scope, embeddings torch.Tensor) shape {
	d := apart(s, embeddings)
	n := s.ToLike(s.Sum(s.Greater(d, 0)), d)
	some := s.Greater(n, 0)
	mean := s.Div(s.Sum(d), s.Where(some, n, s.OnesLike(n)))
	return shape{d, s.Where(some, mean, s.OnesLike(mean))}
}

func (g shape) relative(s *torch.Scope) torch.Tensor { return s.Div(g.distance, g.mean) }

// sides are what angles follow from: D_ij, D_ij² and q_ij = 1/D_ij, or 0 where f_i and f_j are
// too near for a direction, all N×N and without history.
type sides struct{ d, square, q torch.Tensor }

func (g shape) sides(s *torch.Scope) sides {
	d := s.Detach(g.distance)
	far := s.Greater(s.Sub(d, s.Scale(s.Detach(g.mean), 1e-4)), 0)
	nothing := s.ZerosLike(d)
	d = s.Where(far, d, nothing)
	return sides{d, s.Mul(d, d), s.Where(far, s.Div(s.OnesLike(d), s.Where(far, d, s.OnesLike(d))), nothing)}
}

// blockElements bounds the angles that are looked at at a time: that many stay in a cache.
const blockElements = 1 << 18

// angles is L_a. By the law of cosines all angles follow from the distances:
//
//	A_ijk = q_ij q_ik (D_ij² + D_ik² - D_jk²)/2
//
// So no vector of the N² differences is made, and the gradient is one with respect to the
// D_ij², N×N. It is taken along with the value, block by block of vertices i, and joins the
// graph as a constant: nothing of size N³ waits for the way back.
func angles(s *torch.Scope, student, teacher shape, n int) torch.Tensor {
	var value, gradient torch.Tensor
	s.Engine().NoGrad(func() {
		a := angleSum{n: n, student: student.sides(s), teacher: teacher.sides(s)}
		value, gradient = a.run(s)
	})
	linear := s.Sum(s.Mul(gradient, s.Mul(student.distance, student.distance)))
	return s.Add(value, s.Sub(linear, s.Detach(linear)))
}

// angleSum adds up L_a over blocks of vertices.
type angleSum struct {
	n                int
	student, teacher sides
	// value is Σ h, opposite Σ_i W_i (N×N), where W_i = h'(A^s_i - A^t_i) q_i q_iᵀ is the
	// gradient with respect to D_i² + D_iᵀ² - D², halved.
	value, opposite torch.Tensor
	// adjacent are the rows of the gradient with respect to the D_ij² of their vertices i.
	adjacent []torch.Tensor
}

// run is L_a and its gradient with respect to the student's D_ij².
func (a *angleSum) run(s *torch.Scope) (value, gradient torch.Tensor) {
	n := a.n
	a.opposite = s.ZerosLike(a.student.d)
	a.value = s.To(s.Sum(s.Slice(a.opposite, 0, 0, 0)), torch.Float64)
	size := max(1, blockElements/(n*n))
	for from := 0; from < n; from += size {
		a.block(s, from, min(from+size, n))
	}
	share := 1 / (float64(n) * float64(n) * float64(n))
	gradient = s.Sub(s.Concat(a.adjacent, 0), s.Scale(a.opposite, 0.5))
	return s.Scale(s.ToLike(a.value, gradient), share), s.Scale(gradient, share)
}

// block adds the vertices [from, to).
func (a *angleSum) block(s *torch.Scope, from, to int) {
	n := a.n
	s.Inside(func(in *torch.Scope) {
		rows := func(t torch.Tensor) torch.Tensor { return in.Slice(t, 0, from, to) }
		column := func(t torch.Tensor) torch.Tensor { return in.Reshape(rows(t), to-from, n, 1) }
		row := func(t torch.Tensor) torch.Tensor { return in.Reshape(rows(t), to-from, 1, n) }
		st, te := a.student, a.teacher
		// e = A^s - A^t, A = (D_j q_k + q_j D_k - q_j q_k D_jk²)/2
		e := in.BatchMatMul(
			in.Concat([]torch.Tensor{column(st.d), column(st.q), column(te.d), column(te.q)}, 2),
			in.Concat([]torch.Tensor{in.Scale(row(st.q), 0.5), in.Scale(row(st.d), 0.5), in.Scale(row(te.q), -0.5), in.Scale(row(te.d), -0.5)}, 1))
		w := in.Mul(column(st.q), row(st.q))
		in.AddProduct(e, w, st.square, -0.5)
		in.AddProduct(e, in.Mul(column(te.q), row(te.q)), te.square, 0.5)
		h := in.Clamp(e, -1, 1) // h' of e; h = h'·(e - h'/2)
		flat := in.Reshape(h, -1)
		sum := in.Sub(in.Dot(flat, in.Reshape(e, -1)), in.Scale(in.Dot(flat, flat), 0.5))
		in.AddTo(a.value, in.To(sum, torch.Float64))

		w = in.Mul(w, h)
		in.AddTo(a.opposite, in.SumDim(w, 0, false))
		square := column(st.square)
		both := in.BatchMatMul(w, in.Concat([]torch.Tensor{in.OnesLike(square), square}, 2))
		lengths := in.Slice(both, 2, 0, 1) // Σ_k W_jk
		across := in.Sub(in.Slice(both, 2, 1, 2), in.SumDim(in.Mul(w, st.square), 2, true))
		q := column(st.q)
		adjacent := in.Scale(in.Sub(lengths, in.Mul(in.Mul(q, q), across)), 0.5)
		a.adjacent = append(a.adjacent, in.Move(in.Reshape(adjacent, to-from, n), s))
	})
}
