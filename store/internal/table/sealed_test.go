package table

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func TestSealed(t *testing.T) {
	type document struct {
		Header
		Rows   int    `json:"rows"`
		Digest string `json:"digest"`
	}
	doc := document{Header: HeaderOf(FormatDataset), Digest: strings.Repeat("ab", 32)}
	data, err := EncodeSealed(&doc)
	if err != nil {
		t.Fatal(err)
	}
	var back document
	if err := DecodeSealed(data, FormatDataset, &back); err != nil || back != doc {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, tc := range map[string]struct {
		change func(string) string
		want   string
	}{
		"space added":   {func(s string) string { return strings.Replace(s, `"rows": 0`, `"rows":  0`, 1) }, "seal"},
		"number":        {func(s string) string { return strings.Replace(s, `"rows": 0`, `"rows": 1`, 1) }, "seal"},
		"no seal":       {func(s string) string { return s[:strings.Index(s, SealLead)] + "\n}\n" }, "seal"},
		"another kind":  {func(s string) string { return strings.Replace(s, FormatDataset, FormatCrops, 1) }, "format"},
		"version 0":     {func(s string) string { return strings.Replace(s, `"version": 2`, `"version": 0`, 1) }, "version"},
		"cut":           {func(s string) string { return s[:len(s)-1] }, "seal"},
		"not JSON":      {func(s string) string { return s[1:] }, "JSON"},
		"empty":         {func(string) string { return "" }, "JSON"},
		"trailing text": {func(s string) string { return s + "\n" }, "seal"},
		"other order":   {func(s string) string { return strings.Replace(s, "{", `{"rows": 0,`, 1) }, "seal"},
		"two versions":  {func(s string) string { return reseal(strings.Replace(s, `"rows": 0`, `"version": 1`, 1)) }, "at its beginning"},
	} {
		if err := DecodeSealed([]byte(tc.change(string(data))), FormatDataset, &back); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %s", name, err, tc.want)
		}
	}
}

// reseal gives text that was changed the seal that belongs to it.
func reseal(s string) string {
	s = s[:strings.LastIndex(s, SealLead)+len(SealLead)]
	return fmt.Sprintf("%s%x%s", s, sha256.Sum256([]byte(s)), SealTail)
}

// A list takes no more memory than a few times the text, whatever stands for its elements.
func TestSealedListsAreBounded(t *testing.T) {
	type element struct{ A, B, C, D, E, F, G, H, I string }
	type document struct {
		Header
		List []element         `json:"list"`
		Text []string          `json:"text"`
		Map  map[string]string `json:"map"`
	}
	doc := document{Header: HeaderOf(FormatDataset), Text: slices.Repeat([]string{"folder=/photographs/of/people"}, 20_000)}
	for i := range 10_000 {
		doc.List = append(doc.List, element{A: fmt.Sprint(i), B: `{"[,\\`})
	}
	whole, err := EncodeSealed(&doc)
	if err != nil {
		t.Fatal(err)
	}
	var back document
	if err := DecodeSealed(whole, FormatDataset, &back); err != nil || !slices.Equal(back.List, doc.List) || !slices.Equal(back.Text, doc.Text) {
		t.Fatalf("%d elements, %v", len(back.List), err)
	}
	for name, value := range map[string]string{
		"objects": "{}", "null": "null", "numbers": "0", "strings": `""`, "lists": "[]", "spaced": "{ }", "objects in objects": `{"x":{"x":{}}}`,
		"hidden": `{"x":[{},{},{}]}`,
	} {
		list := fmt.Sprintf(`"list": [%s{}]`, strings.Repeat(value+",", 8<<20/len(value)))
		text := []byte(reseal(strings.Replace(string(whole), `"map": null`, list, 1)))
		alloctest.AtMost(t, 2*len(text), func() {
			if err := DecodeSealed(text, FormatDataset, new(document)); err == nil || !strings.Contains(err.Error(), "more than such a file") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	// Members of a map take what their text does, a few times over.
	pairs := new(strings.Builder)
	for i := range 300_000 {
		fmt.Fprintf(pairs, "%q:\"\",", fmt.Sprint(i))
	}
	text := []byte(reseal(strings.Replace(string(whole), `"map": null`, fmt.Sprintf(`"map": {%s"":""}`, pairs), 1)))
	alloctest.AtMost(t, 32*len(text), func() {
		if err := DecodeSealed(text, FormatDataset, new(document)); err != nil {
			t.Errorf("a map: %v", err)
		}
	})
}
