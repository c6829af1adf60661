package parallel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"facepipe/internal/worker"
	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

func TestExchange(t *testing.T) {
	got := torchtest.Ranks(t, 3, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		for _, unit := range []string{"", "ab", "c"} {
			texts, err := Exchange(s, g, []byte(strings.Repeat(unit, rank)))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Printf("> %s\n", texts)
		}
	})
	for rank, lines := range got {
		if want := []string{"[  ]", "[ ab abab]", "[ c cc]"}; !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// A rank that has gone makes Exchange fail, and no more.
func TestExchangeWithNobody(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		if rank == 1 {
			return // and leave
		}
		failing := s.Engine().NewScope()
		defer failing.Close()
		_, err := Exchange(failing, g, []byte("some text"))
		fmt.Println(">", err != nil)
	})
	if got != nil && !slices.Equal(got[0], []string{"true"}) {
		t.Errorf("an error: %q", got[0])
	}
}

// The gradient of what is gathered reaches the own rows, and no others; matrices of other widths
// and element types come along.
func TestGatherRows(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		own := torch.FromData(s, "cpu", []float64{float64(rank), 1, 2, 3}, 2, 2)
		s.RequireGrad(own, true)
		wide := torch.FromData(s, "cpu", []float64{float64(rank), 4, 5, 6, 7, 8}, 2, 3)
		short := torch.FromData(s, "cpu", []float32{float32(rank), 9}, 2, 1)
		gathered := GatherRows(s, g, rank, []torch.Tensor{short, own, wide})
		all := gathered[1]
		weights := torch.FromData(s, "cpu", []float64{1, 2, 3, 4, 5, 6, 7, 8}, 4, 2)
		s.Backward(s.Sum(s.Mul(all, weights)))
		fmt.Println(">", torch.ToData[float64](s, all), torch.ToData[float64](s, s.Grad(own)))
		fmt.Println(">", s.Floats(gathered[0]), torch.ToData[float64](s, gathered[2]), s.Shape(gathered[2]))
		fmt.Println(">", GatherInts(s, g, []int64{int64(rank), 7}))
	})
	for rank, lines := range got {
		want := []string{fmt.Sprint([]int{0, 1, 2, 3, 1, 1, 2, 3}, [][]int{{1, 2, 3, 4}, {5, 6, 7, 8}}[rank]),
			"[0 9 1 9] [0 4 5 6 7 8 1 4 5 6 7 8] [4 3]", "[0 7 1 7]"}
		if !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// The gradients that ranks end up with are the sums of the layers' and the means of the
// loss's, whatever the sizes. Those of both buckets are on their way before backward ends.
func TestGradients(t *testing.T) {
	got := torchtest.Ranks(t, 2, func(t *testing.T, s *torch.Scope, g *torch.Group, rank int) {
		leaf := func(n int) torch.Tensor {
			x := torch.FromData(s, "cpu", make([]float32, n), n)
			s.RequireGrad(x, true)
			return x
		}
		layers, loss := []torch.Tensor{leaf(300_000), leaf(7), leaf(400_000), leaf(1)}, []torch.Tensor{leaf(20)}
		gradients, err := NewGradients(s, g, layers, loss)
		if err != nil {
			t.Fatal(err)
		}
		defer gradients.Close()
		total := s.Sum(loss[0])
		for k, x := range layers {
			total = s.Add(total, s.Scale(s.Sum(x), float64(k+10*rank)))
		}
		gradients.Expect(s)
		s.Backward(total)
		gradients.Collect(s)
		for _, x := range append(layers, loss...) {
			values := s.Floats(s.Grad(x))
			fmt.Println(">", slices.Min(values), slices.Max(values))
		}
		fmt.Println("> early", gradients.buckets.Early())
	})
	for rank, lines := range got {
		if want := []string{"10 10", "12 12", "14 14", "16 16", "1 1", "early 2"}; !slices.Equal(lines, want) {
			t.Errorf("rank %d printed %q, want %q", rank, lines, want)
		}
	}
}

// Who waits for rank 0 can be stopped, and leaves nothing behind.
func TestJoinIsStopped(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.NeedGroups(t, e)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	r := worker.Rank{Worker: worker.Worker{Index: 1, Count: 2}, Host: "127.0.0.1", Port: torchtest.FreePort(t)}
	if _, _, err := Join(ctx, e, r, "cpu", time.Hour, make(chan error, 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}

// An address that leads nowhere is named, with the reason.
func TestJoinOfNobody(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.NeedGroups(t, e)
	for _, host := range []string{"127.0.0.1", "no-such-host.invalid"} {
		r := worker.Rank{Worker: worker.Worker{Index: 1, Count: 2}, Host: host, Port: torchtest.FreePort(t)}
		_, _, err := Join(t.Context(), e, r, "cpu", 200*time.Millisecond, make(chan error, 1))
		if err == nil || !strings.Contains(err.Error(), r.Master()) || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("%v", err)
		}
		var network net.Error
		if !errors.As(err, &network) {
			t.Errorf("the reason is not kept: %v", err)
		}
	}
}
