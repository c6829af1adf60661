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

// Decode believes what is as it was sealed, and what is of before there were seals; no bit of either
// can be another and pass for a file that carries no seal.
func TestDecode(t *testing.T) {
	data, err := seal.Encode(doc{1, "x"})
	if err != nil {
		t.Fatal(err)
	}
	var got doc
	if sealed, err := seal.Decode(data, &got); err != nil || !sealed || got != (doc{1, "x"}) {
		t.Errorf("%+v, %v, %v", got, sealed, err)
	}
	if sealed, err := seal.Decode([]byte(`{"a": 2, "b": "y"}`), &got); err != nil || sealed || got != (doc{2, "y"}) {
		t.Errorf("%+v, %v, %v", got, sealed, err)
	}
	var of struct {
		A any `json:"a"`
	}
	if _, err := seal.Decode([]byte(`{"a": 12345678901234567891}`), &of); err != nil || of.A != json.Number("12345678901234567891") {
		t.Errorf("%v, %v", of.A, err)
	}
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, err := seal.Decode(data, new(doc)); err == nil {
				t.Errorf("bit %d of byte %d: %s", bit, i, data)
			}
			data[i] ^= 1 << bit
		}
	}
	for _, text := range []string{"", "[]", `"seal"`, `{"a": 1, "seal": "x"}`, `{"a": 1, "seal": 7}`, `{"a": 1, "sebl": "x"}`, `{"a": 1`} {
		if _, err := seal.Decode([]byte(text), new(doc)); err == nil {
			t.Errorf("%s is believed", text)
		}
	}
}

// Every bit of a sealed text counts, and to whom it belongs.
func TestText(t *testing.T) {
	text := []byte("# of a run\nlr: 0.1\nsizes:\n  - 1\n")
	data := seal.CloseText(text, "run 1")
	if sealed, err := seal.VerifyText(data, "run 1"); err != nil || !sealed || !strings.HasPrefix(string(data), string(text)) {
		t.Errorf("%v, %v of %s", sealed, err, data)
	}
	if _, err := seal.VerifyText(data, "run 2"); !errors.Is(err, seal.ErrSeal) {
		t.Errorf("of another run: %v", err)
	}
	for _, none := range [][]byte{text, nil, []byte("\n"), []byte("lr: 1")} {
		if sealed, err := seal.VerifyText(none, "run 1"); err != nil || sealed {
			t.Errorf("%q: %v, %v", none, sealed, err)
		}
	}
	lead := len(text) // where the line of the seal begins
	for i := range data {
		for bit := range 8 {
			data[i] ^= 1 << bit
			if _, err := seal.VerifyText(data, "run 1"); err == nil && i != lead { // no comment: whoever parses it sees that
				t.Errorf("bit %d of byte %d: %s", bit, i, data)
			}
			data[i] ^= 1 << bit
		}
	}
	for _, other := range [][]byte{data[:len(data)-1], append(data, '\n'), append(data, "# more\n"...)} {
		if _, err := seal.VerifyText(other, "run 1"); !errors.Is(err, seal.ErrSeal) {
			t.Errorf("%q: %v", other, err)
		}
	}
}
