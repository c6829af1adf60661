package student

import "testing"

// A step waits for the device once, for its outcome; with a loss that must look at values, or with a
// loss scale, whose step is not one where embeddings overflow, twice.
func TestBlockingCallsPerStep(t *testing.T) {
	dataset := fixture(t)
	for _, c := range []struct {
		loss      string
		scaleLoss bool
		most      float64
	}{{"cosine", false, 1}, {"unified", false, 1}, {"triplet", false, 2}, {"cosine", true, 2}} {
		o := options(t, dataset)
		o.Epochs, o.Loss.Name, o.scaleLoss = 1, c.loss, c.scaleLoss
		s, err := Distill(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		// The last step is read at its checkpoint, outside of any step.
		if n := s.BlockingCallsPerStep; n > c.most || n < c.most*float64(s.Steps-1)/float64(s.Steps) {
			t.Errorf("%+v: %g blocking calls in each of %d steps", c, n, s.Steps)
		}
	}
}
