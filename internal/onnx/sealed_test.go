package onnx

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/seal"
)

// same says that two models are the same to who runs them.
func same(a, b *Model) bool {
	return reflect.DeepEqual(a.Graph, b.Graph) && a.OpsetVersion == b.OpsetVersion && reflect.DeepEqual(own(a), own(b))
}

// own is a model's metadata without the seal.
func own(m *Model) []Property {
	return slices.DeleteFunc(slices.Clone(m.Metadata), func(p Property) bool { return strings.HasSuffix(p.Key, ".sha256") || p.Key == SealKey })
}

// Any bit of a sealed model that is another is found, or changes nothing that counts: the seal's own
// name, or the producer's, which makes the seal void.
func TestEveryBitOfASealedModel(t *testing.T) {
	data := sample().MarshalSealed()
	want, err := Unmarshal(data)
	if err != nil || !want.IsSealed() || !same(want, sample()) {
		t.Fatalf("%+v, %v", want, err)
	}
	key := bytes.LastIndex(data, []byte(SealKey))
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			got, err := Unmarshal(data)
			switch inKey := i >= key-5 && i < key+len(SealKey)+2; {
			case err == nil && !inKey && !same(got, want):
				t.Fatalf("bit %d of byte %d is another, and nobody said so", bit, i)
			case err != nil && !errors.Is(err, seal.ErrDamaged) && !errors.Is(err, ErrFormat):
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			case i > 20 && i < key-5 && !errors.Is(err, seal.ErrDamaged):
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			data[i] ^= 1 << bit
		}
	}
}

// A sealed model that was cut, or has something after it, is damaged, unless all of the graph is there
// and what is left of the entries behind it is whole.
func TestCutSealedModel(t *testing.T) {
	data := sample().MarshalSealed()
	bare := sample()
	bare.Metadata, bare.OpsetVersion = nil, 0
	const opset = 4 // bytes of an entry
	whole := len(bare.Marshal()) - opset
	for n := 20; n < len(data); n++ {
		m, err := Unmarshal(data[:n])
		if err == nil && (n < whole || m.IsSealed()) || err != nil && !errors.Is(err, seal.ErrDamaged) {
			t.Errorf("the first %d of %d bytes: %v", n, len(data), err)
		}
	}
	more := message(slices.Clone(data))
	more.property(modelProperty, Property{"k", "v"})
	if _, err := Unmarshal(more); !errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), "remove that entry") {
		t.Errorf("an entry more: %v", err)
	}
}

// stale is a model with the seal of another.
func stale(m *Model) []byte {
	w := message(m.Marshal())
	w.property(modelProperty, Property{SealKey, seal.Digits(nil)})
	return w
}

// Models of others, and students of before there were seals, are read as ever.
func TestModelsWithoutSeal(t *testing.T) {
	old, other := sample(), sample()
	other.Producer = "pytorch"
	rewritten, err := Unmarshal(sample().MarshalSealed())
	if err != nil {
		t.Fatal(err)
	}
	rewritten.Producer, rewritten.Graph.Name = "onnx.quantize", "another"
	bare := sample()
	bare.Metadata = nil
	for name, data := range map[string][]byte{"old": old.Marshal(), "without metadata": bare.Marshal(), "other": other.Marshal(), "rewritten by another program": stale(rewritten)} {
		if m, err := Unmarshal(data); err != nil || m.IsSealed() {
			t.Errorf("%s: %v", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "student.onnx")
	rewritten.Producer = "pipe"
	if err := os.WriteFile(path, stale(rewritten), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(path); !errors.Is(err, seal.ErrDamaged) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "export it again") {
		t.Errorf("changed by this one: %v", err)
	}
}

// What is made of a sealed model to be run is not sealed.
func TestRewrittenModelIsNotSealed(t *testing.T) {
	m := sample()
	m.Graph.Inputs[0].Type = Float16
	data, err := Form{}.Rewrite(m.MarshalSealed())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Unmarshal(data); err != nil || got.IsSealed() || got.Property(SealKey) != "" || len(got.Metadata) != 2 {
		t.Errorf("%+v, %v", got, err)
	}
}
