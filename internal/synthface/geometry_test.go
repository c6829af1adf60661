package synthface

import (
	"math"
	"testing"
)

func TestFitRecoversASimilarity(t *testing.T) {
	r := newStream(1, "fit")
	for range 100 {
		want := similarity{a: r.around(0, 2), b: r.around(0, 2), tx: r.around(0, 90), ty: r.around(0, 90)}
		var moved [10]float64
		for k := 0; k < 10; k += 2 {
			p := want.apply(vec2{template[k], template[k+1]})
			moved[k], moved[k+1] = p.x, p.y
		}
		got := fit(template, moved)
		if !near(got.a, want.a) || !near(got.b, want.b) || !near(got.tx, want.tx) || !near(got.ty, want.ty) {
			t.Errorf("got %+v, want %+v", got, want)
		}
		p := got.inverse().apply(got.apply(vec2{3, -7}))
		if !near(p.x, 3) || !near(p.y, -7) {
			t.Errorf("%+v and back moves (3, -7) to %v", got, p)
		}
	}
}

// No similarity close to the fitted one may come nearer to the target.
func TestFitIsLeastSquares(t *testing.T) {
	r := newStream(2, "fit")
	cost := func(s similarity, src [10]float64) (sum float64) {
		for k := 0; k < 10; k += 2 {
			p := s.apply(vec2{src[k], src[k+1]})
			sum += (p.x-template[k])*(p.x-template[k]) + (p.y-template[k+1])*(p.y-template[k+1])
		}
		return sum
	}
	for range 50 {
		src := template
		for k := range src {
			src[k] += r.around(0, 8)
		}
		best := fit(src, template)
		for range 50 {
			other := similarity{best.a + r.around(0, 0.02), best.b + r.around(0, 0.02), best.tx + r.around(0, 1), best.ty + r.around(0, 1)}
			if cost(other, src) < cost(best, src)-1e-9 {
				t.Fatalf("%+v beats %+v", other, best)
			}
		}
	}
}

func TestTurnAndBack(t *testing.T) {
	r := newStream(3, "turn")
	for range 100 {
		v := newView(pose{yaw: r.around(0, 0.6), pitch: r.around(0, 0.4), distance: 500}, similarity{a: 1})
		p := vec3{r.around(0, 40), r.around(0, 40), r.around(0, 40)}
		q := v.unturn(v.turn(p))
		if !near(p.x, q.x) || !near(p.y, q.y) || !near(p.z, q.z) {
			t.Errorf("%v comes back as %v", p, q)
		}
	}
}

// What is seen at a projected point of the face must be that point: light and
// features would come apart otherwise.
func TestSurfaceInvertsProjection(t *testing.T) {
	g := New(12)
	var worst float64
	for i := range 30 {
		id, s := g.Identity(i), g.shot(i, 0, DefaultHard)
		sc := newScene(&id, &s, similarity{a: 1}, nil)
		for _, p := range sc.f.landmarks() {
			z := sc.relief.at(p)
			depth := sc.view.turn(vec3{p.x, p.y, z - pivot}).z + pivot
			got, _ := sc.view.surface(sc.relief, sc.view.project(vec3{p.x, p.y, z}), depth)
			worst = max(worst, math.Hypot(got.x-p.x, got.y-p.y))
		}
	}
	if worst > 0.01 {
		t.Errorf("a landmark is seen %.3f px from its place", worst)
	}
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9*(1+math.Abs(a)) }
