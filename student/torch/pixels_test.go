package torch_test

import (
	"testing"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// Bytes become (x - mean) / std, rows of flagged images from right to left.
func TestPixels(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) { testPixels(t, e, device) })
}

func testPixels(t *testing.T, e *torch.Engine, device string) {
	const n, h, w = 3, 2, 5
	bytes := make([]uint8, n*h*w*3)
	for i := range bytes {
		bytes[i] = uint8(i * 37)
	}
	for _, dtype := range []torch.DType{torch.Float32, torch.BFloat16, torch.Float16, torch.Float64} {
		for _, flags := range [][]uint8{nil, {0, 1, 1}} {
			s := torchtest.Scope(t, e)
			var mirrored torch.Tensor
			if flags != nil {
				mirrored = torch.FromData(s, device, flags, n)
			}
			x := s.Pixels(torch.FromData(s, device, bytes, n, h, w, 3), mirrored, 127.5, 128, dtype)
			if got := s.DType(x); got != dtype {
				t.Errorf("%v became %v", dtype, got)
			}
			got := s.Floats(x)
			for i := range n {
				for c := range 3 {
					for y := range h {
						for at := range w {
							from := at
							if flags != nil && flags[i] != 0 {
								from = w - 1 - at
							}
							// Exact in every precision: seven bits and a half over a power of two.
							want := (float32(bytes[((i*h+y)*w+from)*3+c]) - 127.5) / 128
							if v := got[((i*3+c)*h+y)*w+at]; v != want && !(dtype == torch.BFloat16 && v-want < 1.0/256 && want-v < 1.0/256) {
								t.Fatalf("%v, flags %v: image %d, channel %d, place %d,%d is %g, want %g", dtype, flags, i, c, y, at, v, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestPixelsRefuses(t *testing.T) {
	e := torchtest.Open(t)
	for name, f := range map[string]func(s *torch.Scope){
		"floats": func(s *torch.Scope) { s.Pixels(ones(s, 1, 2, 2, 3), torch.Tensor{}, 0, 1, torch.Float32) },
		"four channels": func(s *torch.Scope) {
			s.Pixels(torch.FromData(s, "cpu", make([]uint8, 16), 1, 2, 2, 4), torch.Tensor{}, 0, 1, torch.Float32)
		},
		"flags of other images": func(s *torch.Scope) {
			s.Pixels(torch.FromData(s, "cpu", make([]uint8, 12), 1, 2, 2, 3), torch.FromData(s, "cpu", []uint8{1, 1}, 2), 0, 1, torch.Float32)
		},
		"bytes from bytes": func(s *torch.Scope) {
			s.Pixels(torch.FromData(s, "cpu", make([]uint8, 12), 1, 2, 2, 3), torch.Tensor{}, 0, 1, torch.Uint8)
		},
	} {
		s := e.NewScope()
		f(s)
		if s.Err() == nil {
			t.Errorf("%s: no error", name)
		}
		s.Close()
	}
}
