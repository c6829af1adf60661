package embed

import "testing"

// Whatever is fastest here, the model runs at it, and gives what it gives at any other.
func TestAutoBatch(t *testing.T) {
	m := open(t, tiny(t, nil), Options{Batch: AutoBatch})
	if b := m.Batch(); b < 1 || b > maxAutoBatch || b&(b-1) != 0 {
		t.Errorf("batch %d", b)
	}
	other := open(t, tiny(t, nil), Options{Batch: 3})
	const n = 5
	pixels, got, want := crops(n), make([]float32, n*4), make([]float32, n*4)
	if err := m.Embed(n, pixels, false, got); err != nil {
		t.Fatal(err)
	}
	if err := other.Embed(n, pixels, false, want); err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("value %d is %g at batch %d and %g at 3", i, got[i], m.Batch(), want[i])
		}
	}
}
