package imgcodec

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

// hole is a file of zeros.
type hole struct{}

func (hole) ReadAt(b []byte, _ int64) (int, error) { clear(b); return len(b), nil }

func TestRead(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789"), 20_000)
	for _, size := range []int64{0, 1, HeadBytes - 1, HeadBytes, HeadBytes + 1, 150_000} {
		const offset = 7
		asked := 0
		got, err := Read(bytes.NewReader(data), offset, size, func(n int64, head []byte) error {
			asked++
			if n != size || int64(len(head)) != min(size, HeadBytes) || !bytes.HasPrefix(data[offset:], head) {
				t.Errorf("%d bytes: asked for %d that begin with %d", size, n, len(head))
			}
			return nil
		})
		if err != nil || asked != 1 || !bytes.Equal(got, data[offset:offset+size]) {
			t.Errorf("%d bytes: got %d, asked %d times, %v", size, len(got), asked, err)
		}
	}
	for _, size := range []int64{10, 200_000} {
		if _, err := Read(bytes.NewReader(data), int64(len(data))-5, size, nil); err == nil || !strings.Contains(err.Error(), "became shorter") {
			t.Errorf("beyond the end: %v", err)
		}
	}
}

func TestWhatIsNotAdmittedIsNotRead(t *testing.T) {
	alloctest.AtMost(t, 4*HeadBytes, func() {
		no := errors.New("no")
		if _, err := Read(hole{}, 0, MaxBytes, func(int64, []byte) error { return no }); !errors.Is(err, no) {
			t.Errorf("not admitted: %v", err)
		}
		if _, err := Read(hole{}, 0, MaxBytes+1, nil); err == nil || !strings.Contains(err.Error(), "more than the limit") {
			t.Errorf("beyond the limit: %v", err)
		}
	})
	broken := errors.New("a bad disk")
	if _, err := Read(errorAt{broken}, 0, 100, nil); !errors.Is(err, broken) {
		t.Errorf("a bad disk: %v", err)
	}
}

type errorAt struct{ err error }

func (e errorAt) ReadAt([]byte, int64) (int, error) { return 0, e.err }
