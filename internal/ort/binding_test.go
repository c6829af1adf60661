package ort

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/onnx"
)

// openDoubler opens the model that doubles, to be closed in the end.
func openDoubler(t *testing.T, o Options) *Session {
	t.Helper()
	o.Threads = 1
	s, err := Open(t.Context(), doubler(t, nil), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func bind(t *testing.T, s *Session, in, out *Tensor) *Binding {
	t.Helper()
	b, err := s.Bind([]*Tensor{in}, []*Tensor{out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// expectDoubles runs two bindings of a session in turn on what their tensors hold at the
// time, and compares with plain runs, to the bit.
func expectDoubles(t *testing.T, s *Session) {
	t.Helper()
	type end struct {
		in, out *Tensor
		*Binding
	}
	var ends []end
	for range 2 {
		in, out := tensor(t, 0, 0, 0, 0), tensor(t, 0, 0, 0, 0)
		ends = append(ends, end{in, out, bind(t, s, in, out)})
	}
	for round := range 6 {
		e := ends[round%2]
		copy(e.in.Data(), []float32{float32(round), 0.1, -1e30, 1e-40})
		want := tensor(t, 0, 0, 0, 0)
		if err := s.Run([]*Tensor{e.in}, []*Tensor{want}); err != nil {
			t.Fatal(err)
		}
		if err := e.Run(); err != nil {
			t.Fatal(err)
		}
		if got := e.out.Data(); !slices.Equal(got, want.Data()) || got[0] != float32(2*round) {
			t.Errorf("round %d gives %v, want %v", round, got, want.Data())
		}
	}
}

func TestBinding(t *testing.T) {
	s := openDoubler(t, Options{})
	expectDoubles(t, s)
	s.copiesInputs = true // as a device may
	expectDoubles(t, s)
}

func TestBindingAllocatesNothing(t *testing.T) {
	b := bind(t, openDoubler(t, Options{}), tensor(t, 1, 2), tensor(t, 0, 0))
	if n := testing.AllocsPerRun(100, func() {
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a run", n)
	}
}

func TestBindingRefusesWhatDoesNotFit(t *testing.T) {
	s := openDoubler(t, Options{})
	x := tensor(t, 1, 2)
	if _, err := s.Bind([]*Tensor{x}, nil); err == nil || !strings.Contains(err.Error(), "0 outputs") {
		t.Errorf("no output: %v", err)
	}
	if err := bind(t, s, x, tensor(t, 1, 2, 3, 4)).Run(); err == nil || !strings.Contains(err.Error(), s.path) {
		t.Errorf("an output of the wrong shape: %v", err)
	}
	wide, err := NewTensor(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	if err := bind(t, s, wide, x).Run(); err == nil || !strings.Contains(err.Error(), s.path) {
		t.Errorf("an input of the wrong shape: %v", err)
	}
}

// Tensors in memory of the runtime's, as a device copies them, are as any others.
func TestTensorsInPool(t *testing.T) {
	s := openDoubler(t, Options{})
	var err error
	if s.pool, err = newPool(s.session, "Cpu", 0); err != nil {
		t.Fatal(err)
	}
	x, errX := s.NewTensor(onnx.Float32, 1, 2)
	y, errY := s.NewTensor(onnx.Float32, 1, 2)
	if err := errors.Join(errX, errY); err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	defer y.Close()
	if d := append(x.Data(), y.Data()...); !slices.Equal(d, []float32{0, 0, 0, 0}) || x.free == nil {
		t.Errorf("new tensors hold %v", d)
	}
	b := bind(t, s, x, y)
	for round := range 3 {
		copy(x.Data(), []float32{float32(round), -1})
		if err := b.Run(); err != nil || !slices.Equal(y.Data(), []float32{float32(2 * round), -2}) {
			t.Errorf("%v, %v", y.Data(), err)
		}
	}
	if _, err := newPool(s.session, cudaPinned, 0); err == nil {
		t.Error("the processor has pinned memory")
	}
	if _, err := s.NewTensor(onnx.Int64, 1); err == nil {
		t.Error("int64 was taken")
	}
	s.fastMemory(Options{Provider: "cuda"})
	if notes := strings.Join(s.Notes(), "; "); !strings.Contains(notes, "which is slower: ") {
		t.Errorf("notes %q", notes)
	}
}
