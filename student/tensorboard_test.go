package student

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/tensorboard/tensorboardtest"
)

// Of a run that stopped and went on before that step TensorBoard shows what its journal
// says.
func TestTensorBoardReadsARun(t *testing.T) {
	tensorboardtest.Python(t)
	o := options(t, fixture(t))
	o.Epochs, o.CheckpointEvery = 2, 3
	ctx, cancel := context.WithCancel(t.Context())
	stopAfter(&o, cancel, new(int), 5)
	if _, err := Distill(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	killInstead(t, o)
	o.Resume, o.afterStep = true, nil
	if _, err := Distill(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	var want []tensorboardtest.Scalar
	for text := range strings.Lines(read(t, o, "metrics.jsonl")) {
		var line map[string]any
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		for name, value := range line {
			if number, ok := value.(float64); ok && name != "step" { // the seal is none
				want = append(want, tensorboardtest.Scalar{Tag: trainTag + name, Step: int64(line["step"].(float64)), Value: float32(number)})
			}
		}
	}
	slices.SortFunc(want, func(a, b tensorboardtest.Scalar) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Tag, b.Tag))
	})
	if got := tensorboardtest.Scalars(t, filepath.Join(o.Out, "tensorboard")); !slices.Equal(got, want) || len(got) == 0 {
		t.Errorf("TensorBoard shows %v, the journal has %v", got, want)
	}
}
