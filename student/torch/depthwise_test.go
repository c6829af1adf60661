package torch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Depthwise convolutions and their gradients on each device, by whatever kernel, are those of the
// processor in float64: 3×3 and 7×7, both strides, odd sizes, channels that fill wide loads and
// that do not.
func TestDepthwiseOnDevices(t *testing.T) {
	e := torchtest.Open(t)
	tolerance := map[torch.DType]float64{torch.Float32: 1e-4, torch.BFloat16: 1.0 / 100, torch.Float16: 1.0 / 512}
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		for _, channels := range []int{72, 5} {
			for _, c := range [][4]int{{3, 1, 1, 9}, {3, 2, 1, 10}, {3, 2, 0, 7}, {7, 1, 0, 7}, {7, 1, 3, 8}, {7, 2, 3, 11}} {
				d := depthwise{device: device, images: 3, channels: channels, kernel: c[0], stride: c[1], padding: c[2], side: c[3]}
				want := d
				want.device = "cpu"
				exact := want.run(t, e, torch.Float64)
				for dtype, within := range tolerance {
					for name, got := range d.run(t, e, dtype) {
						near(t, fmt.Sprintf("%+v in %v: %s", d, dtype, name), got, exact[name], within)
					}
				}
			}
		}
		for _, line := range e.Measured() {
			t.Log(line)
		}
	})
}

// depthwise is one on square images.
type depthwise struct {
	device                                          string
	images, channels, kernel, stride, padding, side int
}

// run gives y and the gradients of Σ y·dy.
func (d depthwise) run(t *testing.T, e *torch.Engine, dtype torch.DType) map[string][]float64 {
	t.Helper()
	s := torchtest.Scope(t, e)
	rng := rand.New(rand.NewPCG(7, 8))
	drawn := func(dtype torch.DType, shape ...int) torch.Tensor {
		n := 1
		for _, side := range shape {
			n *= side
		}
		return s.To(torch.FromData(s, d.device, exact(rng, n), shape...), dtype)
	}
	param := torch.Float32
	if dtype == torch.Float64 {
		param = torch.Float64
	}
	x, w := drawn(dtype, d.images, d.channels, d.side, d.side), drawn(param, d.channels, 1, d.kernel, d.kernel)
	s.RequireGrad(x, true)
	s.RequireGrad(w, true)
	y := s.Conv2D(x, w, d.stride, d.padding, d.channels)
	s.Backward(s.Sum(s.Mul(y, drawn(dtype, s.Shape(y)...))))
	out := map[string][]float64{}
	for name, v := range map[string]torch.Tensor{"y": y, "dx": s.Grad(x), "dw": s.Grad(w)} {
		out[name] = torch.ToData[float64](s, s.To(s.Detach(v), torch.Float64))
	}
	return out
}
