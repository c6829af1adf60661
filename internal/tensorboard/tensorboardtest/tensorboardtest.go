// Package tensorboardtest reads event files with TensorBoard itself, for tests.
package tensorboardtest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// pythonVariable names a Python that has TensorBoard.
const pythonVariable = "PIPE_TEST_TENSORBOARD"

// Scalar is a value of a series, as TensorBoard shows it.
type Scalar struct {
	Tag   string
	Step  int64
	Value float32
}

const reader = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
a = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0})
a.Reload()
json.dump([{"Tag": tag, "Step": s.step, "Value": s.value} for tag in a.Tags()["scalars"] for s in a.Scalars(tag)], sys.stdout)
`

// Python is the one to ask. Without one the test is skipped.
func Python(t testing.TB) string {
	t.Helper()
	python := os.Getenv(pythonVariable)
	if python == "" {
		t.Skipf("%s names no Python with TensorBoard (make test-tensorboard makes one)", pythonVariable)
	}
	return python
}

// Scalars are all that TensorBoard finds in a folder of event files, by step and tag. A
// [Python] without TensorBoard fails the test.
func Scalars(t testing.TB, dir string) []Scalar {
	t.Helper()
	python := Python(t)
	c := exec.Command(python, "-c", reader, dir)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s, which %s names: %v\n%s", python, pythonVariable, err, &stderr)
	}
	var found []Scalar
	if err := json.Unmarshal(out, &found); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	slices.SortFunc(found, func(a, b Scalar) int {
		return cmp.Or(cmp.Compare(a.Step, b.Step), cmp.Compare(a.Tag, b.Tag))
	})
	return found
}
