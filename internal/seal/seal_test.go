package seal_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"facepipe/internal/seal"
)

type doc struct {
	A int    `json:"a"`
	B string `json:"b"`
}

// A sealed file is JSON, and every bit of it counts.
func TestEveryBitCounts(t *testing.T) {
	data, err := seal.Encode(doc{1, "<&>"})
	if err != nil {
		t.Fatal(err)
	}
	var got doc
	if err := json.Unmarshal(data, &got); err != nil || got != (doc{1, "<&>"}) || !strings.Contains(string(data), "<&>") {
		t.Fatalf("%+v, %v of %s", got, err, data)
	}
	if err := errors.Join(seal.Verify(data), seal.VerifyAny(data), seal.VerifyAny([]byte("{}"))); err != nil {
		t.Fatal(err)
	}
	if err := seal.VerifyAny(append([]byte{' '}, data...)); !errors.Is(err, seal.ErrSeal) {
		t.Errorf("a seal that does not fit: %v", err)
	}
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if err := seal.Verify(data); !errors.Is(err, seal.ErrSeal) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			data[i] ^= 1 << bit
		}
		if err := seal.Verify(data[:i]); !errors.Is(err, seal.ErrSeal) {
			t.Fatalf("the first %d bytes: %v", i, err)
		}
	}
	if err := seal.Verify(append(data, '\n')); !errors.Is(err, seal.ErrSeal) {
		t.Errorf("a byte more: %v", err)
	}
}

// A text that others wrote is sealed as it is.
func TestClose(t *testing.T) {
	for _, text := range []string{"{\"a\": 1}", "{\n  \"a\": 1\n}\n", "{\"a\":1\n } \r\n\t"} {
		before := strings.Clone(text)
		data := seal.Close([]byte(text))
		var got doc
		if err := errors.Join(seal.Verify(data), json.Unmarshal(data, &got)); err != nil || got.A != 1 || text != before {
			t.Errorf("%q: %q, %v", text, data, err)
		}
	}
}
