package synthface

import (
	"math"
	"testing"
)

// SplitMix64's first outputs for the state 1234567, as listed by Vigna's
// reference implementation.
func TestStreamIsSplitMix64(t *testing.T) {
	s := stream{state: 1234567}
	for k, want := range []uint64{6457827717110365317, 3203168211198807973, 9817491932198370423} {
		if got := s.next(); got != want {
			t.Errorf("number %d is %d, want %d", k, got, want)
		}
	}
}

func TestStreamsDiffer(t *testing.T) {
	seen := map[uint64]bool{}
	n := 0
	for seed := range uint64(10) {
		for _, purpose := range []string{"", "a", "b", "ab", "ba"} {
			for _, index := range [][]int{nil, {0}, {1}, {0, 0}, {0, 1}, {1, 0}, {-1}} {
				seen[newStream(seed, purpose, index...).next()] = true
				n++
			}
		}
	}
	if len(seen) != n {
		t.Errorf("%d streams begin with %d numbers", n, len(seen))
	}
}

func TestDistributions(t *testing.T) {
	const n = 20000
	r := newStream(1, "test")
	tests := []struct {
		name              string
		draw              func() float64
		lo, hi, mean, dev float64
	}{
		{"unit", r.unit, 0, 1, 0.5, 0.289},
		{"between", func() float64 { return r.between(-2, 6) }, -2, 6, 2, 2.31},
		{"around", func() float64 { return r.around(10, 1) }, 9, 11, 10, 0.577},
		{"bell", func() float64 { return r.bell(3) }, -3, 3, 0, 1.225},
		{"pick", func() float64 { return float64(r.pick(5)) }, 0, 4, 2, 1.414},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var sum, squares float64
			for range n {
				v := tt.draw()
				if v < tt.lo || v > tt.hi {
					t.Fatalf("%g is not within %g..%g", v, tt.lo, tt.hi)
				}
				sum += v
				squares += v * v
			}
			mean := sum / n
			dev := math.Sqrt(squares/n - mean*mean)
			if math.Abs(mean-tt.mean) > 0.03*(tt.hi-tt.lo) || math.Abs(dev-tt.dev) > 0.03*(tt.hi-tt.lo) {
				t.Errorf("mean %.3f and deviation %.3f, want %.3f and %.3f", mean, dev, tt.mean, tt.dev)
			}
		})
	}
}
