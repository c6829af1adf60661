package student

import "testing"

// A step waits for the device once, for its outcome; with a loss that must look at values, twice.
func TestBlockingCallsPerStep(t *testing.T) {
	dataset := fixture(t)
	for name, most := range map[string]float64{"cosine": 1, "unified": 1, "triplet": 2} {
		o := options(t, dataset)
		o.Epochs, o.Loss.Name = 1, name
		s, err := Distill(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		// The last step is read at its checkpoint, outside of any step.
		if n := s.BlockingCallsPerStep; n > most || n < most*float64(s.Steps-1)/float64(s.Steps) {
			t.Errorf("%s: %g blocking calls in each of %d steps, want %g", name, n, s.Steps, most)
		}
	}
}
