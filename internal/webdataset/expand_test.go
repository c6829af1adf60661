package webdataset_test

import (
	"strings"
	"testing"

	"facepipe/internal/webdataset"
)

func TestExpand(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"", ""},
		{"plain.tar", "plain.tar"},
		{"{a,b}", "a b"},
		{"x{a,b}y", "xay xby"},
		{"{a,b}{1,2}", "a1 a2 b1 b2"},
		{"{a,b{1,2},c}", "a b1 b2 c"},
		{"{a,}x", "ax x"},
		{"{,}", " "},
		{"{0..3}", "0 1 2 3"},
		{"{3..0}", "3 2 1 0"},
		{"{08..11}.tar", "08.tar 09.tar 10.tar 11.tar"},
		{"{8..011}", "008 009 010 011"},
		{"{-2..1}", "-2 -1 0 1"},
		{"{-02..1}", "-02 -01 000 001"},
		{"{0..10..5}", "0 5 10"},
		{"{10..0..5}", "10 5 0"},
		{"{0..4..-2}", "0 2 4"},
		{"{0..2..0}", "0 1 2"},
		{"{5..5}", "5"},
		{"{a..d}", "a b c d"},
		{"{D..A..2}", "D B"},
		{"train-{{00..02},9{8,9}}.tar", "train-00.tar train-01.tar train-02.tar train-98.tar train-99.tar"},
		{"{a}", "{a}"},
		{"{}", "{}"},
		{"{a..Z}", "{a..Z}"},
		{"{ab..c}", "{ab..c}"},
		{"{1..}", "{1..}"},
		{"{1..2..x}", "{1..2..x}"},
		{"{{1..2}}", "{1} {2}"},
		{"a,b", "a,b"},
		{`\{a,b\}`, "{a,b}"},
		{`{a\,b,c}`, "a,b c"},
		{`{\{,\}}`, "{ }"},
		{`back\\slash`, `back\slash`},
		{`end\`, `end\`},
	}
	for _, tt := range tests {
		got, err := webdataset.Expand(tt.pattern)
		if err != nil || strings.Join(got, " ") != tt.want {
			t.Errorf("Expand(%q) = %q, %v, want %q", tt.pattern, got, err, tt.want)
		}
	}
}

func TestExpandRefusals(t *testing.T) {
	tests := []struct{ pattern, want string }{
		{"{a,b", "not closed"},
		{"{a,{b,c}", "not closed"},
		{"{", "not closed"},
		{"a}", "closing brace too many"},
		{"{a,b}}", "closing brace too many"},
		{"{0..999999999999}", "more than 131072 names"},
		{"{-4611686018427387904..4611686018427387903}", "more than 131072 names"},
		{"{0..99999}{0..99999}", "more than 131072 names"},
		{"{" + strings.Repeat("{0..99999},", 3) + "}", "more than 131072 names"},
		{"{00000..99999}" + strings.Repeat("x", 500), "more than"},
		{strings.Repeat("{a,b}", 18), "more than 131072 names"},
		{strings.Repeat("x", 2000), "longer than"},
	}
	for _, tt := range tests {
		if got, err := webdataset.Expand(tt.pattern); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("Expand(%.40q) = %d names, %v, want an error that says %q", tt.pattern, len(got), err, tt.want)
		}
	}
}

func TestHasBraces(t *testing.T) {
	for name, want := range map[string]bool{"a.tar": false, "{a,b}": true, "a}": true} {
		if webdataset.HasBraces(name) != want {
			t.Errorf("HasBraces(%q) is not %v", name, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, seed := range []string{"train-{00..99}.tar", "{a,b{1..3..2},}", `\{{,}`, "{9..-9}{x", "{{1..2}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		names, err := webdataset.Expand(pattern)
		if err != nil {
			return
		}
		if len(names) == 0 || len(names) > 1<<17 {
			t.Fatalf("%q gave %d names", pattern, len(names))
		}
		if !strings.ContainsAny(pattern, `{}\`) && (len(names) != 1 || names[0] != pattern) {
			t.Fatalf("%q became %q", pattern, names)
		}
	})
}
