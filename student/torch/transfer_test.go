package torch_test

import (
	"slices"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Arrays of any type and shape come to a device together, and each is a tensor by itself: it can
// be trained, and changed without the others.
func TestUpload(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		s := torchtest.Scope(t, e)
		like := torch.FromData(s, device, []float32{0}, 1)
		before := e.BlockingCalls()
		up := s.Upload(like, torch.ArrayOf([]uint8{1, 2, 3}, 3), torch.ArrayOf([]float64{0.5}), torch.ArrayOf([]int64{}, 0, 4),
			torch.ArrayOf([]float32{1, 2, 3, 4, 5, 6}, 2, 3), torch.ArrayOf([]int64{-7, 8}, 1, 2))
		if n := e.BlockingCalls() - before; n != 0 || s.Err() != nil {
			t.Fatalf("%d blocking calls, %v", n, s.Err())
		}
		s.RequireGrad(up[3], true)
		e.NoGrad(func() { s.AddScaled(up[3], s.OnesLike(up[3]), 1) })
		s.Backward(s.Sum(s.Mul(up[3], up[3])))
		if b, f, g := torch.ToData[uint8](s, up[0]), torch.ToData[float64](s, up[1]), torch.ToData[float32](s, s.Grad(up[3])); !slices.Equal(b, []uint8{1, 2, 3}) ||
			!slices.Equal(f, []float64{0.5}) || !slices.Equal(g, []float32{4, 6, 8, 10, 12, 14}) {
			t.Errorf("%v, %v, gradient %v", b, f, g)
		}
		if n, shapes := torch.ToData[int64](s, up[4]), [][]int{s.Shape(up[1]), s.Shape(up[2]), s.Shape(up[3])}; !slices.Equal(n, []int64{-7, 8}) ||
			!slices.EqualFunc(shapes, [][]int{{}, {0, 4}, {2, 3}}, slices.Equal) || s.Err() != nil {
			t.Errorf("%v, shapes %v, %v", n, shapes, s.Err())
		}
		if n := e.BlockingCalls() - before; n != 4 {
			t.Errorf("four tensors were read by %d blocking calls", n)
		}
		wrong := e.NewScope()
		defer wrong.Close()
		if wrong.Upload(like, torch.ArrayOf([]uint8{1, 2}, 3)); wrong.Err() == nil {
			t.Error("two values for a shape of three: no error")
		}
	})
}

// What is fetched is what a tensor was then, whatever becomes of it, in one blocking call.
func TestFetch(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		s := torchtest.Scope(t, e)
		x := torch.FromData(s, device, []float64{1, 2, 3}, 3)
		before := e.BlockingCalls()
		f := s.Fetch(x)
		s.AddScaled(x, s.OnesLike(x), 5)
		if n := e.BlockingCalls() - before; n != 0 {
			t.Errorf("%d blocking calls to begin", n)
		}
		if v := s.Fetched(f); !slices.Equal(v, []float64{1, 2, 3}) || e.BlockingCalls()-before != 1 || s.Err() != nil {
			t.Errorf("%v by %d blocking calls, %v", v, e.BlockingCalls()-before, s.Err())
		}
		wrong := e.NewScope()
		defer wrong.Close()
		if wrong.Fetched(f); wrong.Err() == nil {
			t.Error("fetched twice: no error")
		}
		wrong.Close()
		if wrong.Fetch(torch.FromData(wrong, device, []float32{1}, 1)); wrong.Err() == nil {
			t.Error("fetched float32: no error")
		}
	})
}
