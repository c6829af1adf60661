package torch_test

import (
	"bytes"
	"strings"
	"testing"
	"unsafe"

	"facepipe/student/torch"
	"facepipe/student/torch/torchtest"
)

// What is written is what views show once it is sent, turn after turn.
func TestSlot(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		slot := newSlot(t, e, device, 256)
		for turn := range 5 {
			memory, err := slot.Memory()
			if err != nil {
				t.Fatal(err)
			}
			for i := range memory {
				memory[i] = byte(i + turn)
			}
			*(*float32)(unsafe.Pointer(&memory[64])) = float32(turn) + 0.5
			*(*int64)(unsafe.Pointer(&memory[128])) = -1 << 40
			want := bytes.Clone(memory)
			if err := slot.Send(); err != nil {
				t.Fatal(err)
			}
			s := torchtest.Scope(t, e)
			all := torch.ToData[uint8](s, s.View(slot, torch.Uint8, 0, 4, 64))
			value, row := s.Floats(s.View(slot, torch.Float32, 64, 1)), torch.ToData[int64](s, s.View(slot, torch.Int64, 128, 1))
			if s.Err() != nil || !bytes.Equal(all, want) || value[0] != float32(turn)+0.5 || row[0] != -1<<40 {
				t.Errorf("turn %d: %v, %v, %v", turn, value, row, s.Err())
			}
			s.Close()
			if err := slot.Done(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func newSlot(t *testing.T, e *torch.Engine, device string, bytes int) *torch.Slot {
	t.Helper()
	slot, err := e.NewSlot(device, bytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(slot.Close)
	return slot
}

// On the processor a view is the memory itself, and the memory the same in each turn.
func TestSlotIsNotCopied(t *testing.T) {
	e := torchtest.Open(t)
	slot := newSlot(t, e, "cpu", 64)
	var first *byte
	for range 3 {
		memory, err := slot.Memory()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = &memory[0]
		}
		if memory[0] = 1; &memory[0] != first || slot.Send() != nil {
			t.Error("the memory is another")
		}
		s := e.NewScope()
		x := s.View(slot, torch.Uint8, 0, 64)
		s.Copy(x, torch.FromData(s, "cpu", bytes.Repeat([]byte{7}, 64), 64))
		if s.Err() != nil || memory[0] != 7 {
			t.Errorf("a view is a copy: %v", s.Err())
		}
		s.Close()
		if err := slot.Done(); err != nil {
			t.Fatal(err)
		}
	}
}

// A view that outlives its turn, even in the graph of a gradient, shows what it showed: the slot is
// never written while it is read.
func TestSlotIsNotWrittenWhileItIsRead(t *testing.T) {
	e := torchtest.Open(t)
	torchtest.OnDevices(t, e, func(t *testing.T, device string) {
		slot, kept := newSlot(t, e, device, 64), torchtest.Scope(t, e)
		w := torch.FromData(kept, device, []float32{1, 1}, 2)
		kept.RequireGrad(w, true)
		var views, losses []torch.Tensor
		for turn := range 3 {
			memory, err := slot.Memory()
			if err != nil {
				t.Fatal(err)
			}
			for i := range 2 {
				*(*float32)(unsafe.Pointer(&memory[4*i])) = float32(turn + 1)
			}
			if err := slot.Send(); err != nil {
				t.Fatal(err)
			}
			x := kept.View(slot, torch.Float32, 0, 2)
			views, losses = append(views, x), append(losses, kept.Dot(w, x))
			if err := slot.Done(); err != nil {
				t.Fatal(err)
			}
		}
		for turn, x := range views {
			if got := kept.Floats(x); kept.Err() != nil || got[0] != float32(turn+1) {
				t.Errorf("the view of turn %d shows %v, %v", turn, got, kept.Err())
			}
			kept.Backward(losses[turn])
		}
		if g := kept.Floats(kept.Grad(w)); g[0] != 1+2+3 {
			t.Errorf("gradient %v", g)
		}
	})
}

// A slot's states come in turn; views lie within it.
func TestSlotRefuses(t *testing.T) {
	e := torchtest.Open(t)
	slot := newSlot(t, e, "cpu", 64)
	expect := func(what, say string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", what, err)
		}
	}
	view := func(dtype torch.DType, from int, shape ...int) error {
		s := e.NewScope()
		defer s.Close()
		s.View(slot, dtype, from, shape...)
		return s.Err()
	}
	expect("done before it is sent", "was not sent", slot.Done())
	expect("a view before it is sent", "was not sent", view(torch.Uint8, 0, 1))
	if err := slot.Send(); err != nil {
		t.Fatal(err)
	}
	_, err := slot.Memory()
	expect("memory that is read", "is read", err)
	expect("sent twice", "sent already", slot.Send())
	expect("too long", "of a slot of 64", view(torch.Uint8, 1, 64))
	expect("too far", "of a slot of 64", view(torch.Float32, 64, 1))
	expect("before it", "", view(torch.Uint8, -1, 1))
	expect("crooked", "multiple", view(torch.Float32, 2, 1))
	_, err = e.NewSlot("nowhere", 64)
	expect("no device", "", err)
}
