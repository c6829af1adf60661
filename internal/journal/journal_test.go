package journal_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"

	"facepipe/internal/journal"
	"facepipe/internal/seal"
)

// sample is a journal of a run, and its objects.
func sample(run string, lines int) (text []byte, objects []string) {
	c := journal.Of(run)
	for i := range lines {
		object := fmt.Sprintf(`{"loss":0.5,"step":%d}`, i+1)
		objects, text = append(objects, object), append(text, c.Seal([]byte(object))...)
	}
	return text, objects
}

// read is what of a text is believed, and how many lines are not.
func read(run string, text []byte) (objects []string, bad int) {
	c := journal.Of(run)
	for line := range bytes.Lines(text) {
		if object, err := c.Read(line); err == nil && json.Valid(object) {
			objects = append(objects, string(object))
		} else {
			bad++
		}
	}
	return objects, bad
}

// What was written is read back, in whatever pieces it was written.
func TestRoundTrip(t *testing.T) {
	text, want := sample("run", 3)
	for _, run := range []string{"run", ""} {
		if got, bad := read(run, text); fmt.Sprint(got) != fmt.Sprint(want) || bad != 0 {
			t.Errorf("%q: %v and %d bad of %s", run, got, bad, text)
		}
	}
	if got, bad := read("run", bytes.TrimSuffix(text, []byte("\n"))); len(got) != 3 || bad != 0 {
		t.Errorf("without the last break: %v, %d bad", got, bad)
	}
	old := []byte("{\"step\":1}\n{\"step\":2}\n")
	c := journal.Of("run")
	for line := range bytes.Lines(old) {
		if _, err := c.Read(line); err != nil || c.Sealed() {
			t.Errorf("%s: %v", line, err)
		}
	}
}

// Of a damaged journal no line is believed that is another than was written, and the lines beyond
// the damage are.
func TestEveryBitCounts(t *testing.T) {
	text, want := sample("run", 4)
	for i := range text {
		for bit := range 8 {
			text[i] ^= 1 << bit
			got, bad := read("run", text)
			if bad == 0 && (i != len(text)-1 || len(got) != 4) || len(got) < 1 {
				t.Errorf("bit %d of byte %d: %v, %d bad of %s", bit, i, got, bad, text)
			}
			for _, object := range got {
				if !slices.Contains(want, object) {
					t.Errorf("bit %d of byte %d: %s is believed", bit, i, object)
				}
			}
			text[i] ^= 1 << bit
		}
	}
}

// Lines that are left out, moved, or of another run are found.
func TestPlaces(t *testing.T) {
	text, _ := sample("run", 4)
	lines := bytes.SplitAfter(text, []byte("\n"))[:4]
	for name, list := range map[string][][]byte{
		"the first":  lines[1:],
		"one within": {lines[0], lines[2], lines[3]},
		"swapped":    {lines[0], lines[2], lines[1], lines[3]},
		"twice":      {lines[0], lines[0], lines[1], lines[2], lines[3]},
		"no seal":    {lines[0], []byte("{\"step\":2}\n"), lines[2], lines[3]},
	} {
		if _, bad := read("run", bytes.Join(list, nil)); bad == 0 {
			t.Errorf("%s: nobody saw it", name)
		}
	}
	c := journal.Of("another run")
	if _, err := c.Read(lines[0]); !errors.Is(err, seal.ErrSeal) {
		t.Error(err)
	}
	if _, err := c.Read(lines[1]); err != nil {
		t.Error(err)
	}
	if _, err := c.Read([]byte(`{"step":3}`)); !errors.Is(err, seal.ErrSeal) {
		t.Errorf("a line without a seal among others: %v", err)
	}
}
