package table

import (
	"strings"
	"testing"
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
	} {
		if err := DecodeSealed([]byte(tc.change(string(data))), FormatDataset, &back); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %s", name, err, tc.want)
		}
	}
}
