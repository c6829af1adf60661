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
// without gradient. It needs the teacher's embedding alone.
//
// Memory: some 15·max(N², 2^18) numbers forwards and backwards, 2^23 on a GPU, where the
// formula read literally keeps several N³ of them. Time: some 15 passes over N³ numbers,
// whatever the length of embeddings.
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

func (c rkdSettings) build(env Env) (term, error) {
	return paired(func(s *torch.Scope, v *view, parts Parts) torch.Tensor {
		return c.step(s, v, parts, blockOn(env.Device))
	}), nil
}

func (c rkdSettings) step(s *torch.Scope, v *view, parts Parts, block int) torch.Tensor {
	p := v.raw()
	student, teacher := shapeOf(s, p.student), shapeOf(s, s.Detach(p.teacher))
	var distances, angular torch.Tensor
	if c.Distance > 0 {
		l := s.Huber(student.relative(s), teacher.relative(s), 1)
		parts.keep(s, "distances", l)
		distances = s.Scale(l, c.Distance)
	}
	if c.Angle > 0 {
		l := angles(s, student, teacher, len(p.samples), block)
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

// sides are what angles follow from: D_ij² and q_ij = 1/D_ij, or 0 where f_i and f_j are too
// near for a direction, both N×N and without history.
type sides struct{ square, q torch.Tensor }

func (g shape) sides(s *torch.Scope) sides {
	d := s.Detach(g.distance)
	far := s.Greater(s.Sub(d, s.Scale(s.Detach(g.mean), 1e-4)), 0)
	ones := s.OnesLike(d)
	return sides{s.Mul(d, d), s.Where(far, s.Div(ones, s.Where(far, d, ones)), s.ZerosLike(d))}
}

// blockOn is how many angles are looked at at a time: so many that what is made of them stays
// in a processor's cache, or keeps a GPU busy.
func blockOn(device string) int {
	if device == "cpu" {
		return 1 << 18
	}
	return 1 << 23
}

// angles is L_a of n samples. By the law of cosines all angles follow from the distances:
//
//	A_ijk = q_ij q_ik (D_ij² + D_ik² - D_jk²)/2
//
// So no vector of the N² differences is made, and the gradient is one with respect to the
// D_ij², N×N. It is taken along with the value, block by block of vertices i, and joins the
// graph as a constant: nothing of size N³ waits for the way back.
func angles(s *torch.Scope, student, teacher shape, n, block int) torch.Tensor {
	var value, gradient torch.Tensor
	s.Engine().NoGrad(func() {
		a := angleSum{n: n, student: student.sides(s), teacher: teacher.sides(s)}
		value, gradient = a.run(s, max(1, block/(n*n)))
	})
	linear := s.Sum(s.Mul(gradient, s.Mul(student.distance, student.distance)))
	return s.Add(value, s.Sub(linear, s.Detach(linear)))
}

// angleSum adds up Σ h(e), e = A^s - A^t, over blocks of vertices. With W_ijk = h'(e_ijk)
// q_ij q_ik/2, of the student, its gradient with respect to the student's D_ij² is
//
//	2 Σ_k W_ijk - q_ij² Σ_k h'(e_ijk) A^s_ijk - Σ_v W_vij
//
// for the sides at a vertex, their lengths, and the sides opposite of vertices v.
type angleSum struct {
	n                int
	student, teacher sides
	value, opposite  torch.Tensor
	atVertex         []torch.Tensor // rows of the first two terms
}

// run is L_a and its gradient, of blocks of size vertices.
func (a *angleSum) run(s *torch.Scope, size int) (value, gradient torch.Tensor) {
	n := a.n
	a.opposite = s.ZerosLike(a.student.q)
	a.value = s.To(s.Sum(s.Slice(a.opposite, 0, 0, 0)), torch.Float64)
	for from := 0; from < n; from += size {
		a.block(s, from, min(from+size, n))
	}
	share := 1 / (float64(n) * float64(n) * float64(n))
	gradient = s.Sub(s.Concat(a.atVertex, 0), a.opposite)
	return s.Scale(s.ToLike(a.value, gradient), share), s.Scale(gradient, share)
}

// block adds the vertices [from, to).
func (a *angleSum) block(s *torch.Scope, from, to int) {
	n, size := a.n, to-from
	s.Inside(func(in *torch.Scope) {
		column := func(t torch.Tensor) torch.Tensor { return in.Reshape(in.Slice(t, 0, from, to), size, n, 1) }
		row := func(t torch.Tensor) torch.Tensor { return in.Reshape(in.Slice(t, 0, from, to), size, 1, n) }
		factors := func(g sides) torch.Tensor { return in.Mul(column(g.q), in.Scale(row(g.q), 0.5)) }
		squares := func(g sides) torch.Tensor {
			sum := in.Add(column(g.square), row(g.square))
			in.AddScaled(sum, g.square, -1)
			return sum
		}
		halves := factors(a.student)
		angle := in.Mul(squares(a.student), halves)
		e := in.AddProduct(angle, squares(a.teacher), factors(a.teacher), -1)
		slope := in.Clamp(e, -1, 1) // h'; h = h'·(e - h'/2)
		flat := in.Reshape(slope, -1)
		sum := in.Sub(in.Dot(flat, in.Reshape(e, -1)), in.Scale(in.Dot(flat, flat), 0.5))
		in.AddScaled(a.value, in.To(sum, torch.Float64), 1)

		w := in.Mul(halves, slope)
		each := in.Reshape(in.OnesLike(in.Slice(a.student.q, 1, 0, 1)), 1, n)
		in.AddMatMul(in.Reshape(a.opposite, 1, n*n), in.Slice(each, 1, 0, size), in.Reshape(w, size, n*n))
		q := column(a.student.q)
		turned := in.Mul(in.Mul(q, q), in.SumDim(in.Mul(slope, angle), 2, true))
		atVertex := in.Sub(in.Scale(in.SumDim(w, 2, true), 2), turned)
		a.atVertex = append(a.atVertex, in.Move(in.Reshape(atVertex, size, n), s))
	})
}
