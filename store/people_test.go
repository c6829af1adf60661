package store_test

import (
	"testing"

	"facepipe/store"
)

func TestClassNumber(t *testing.T) {
	for identity, want := range map[string]bool{
		"0": true, "0017": true, "faces/17": true, "train/x/3": true,
		"": false, "n000017": false, "id_0001": false, "Ann": false, "Ann 2": false, "17/Ann": false, "-1": false, "1.5": false,
	} {
		if got := store.ClassNumber(identity); got != want {
			t.Errorf("ClassNumber(%q) = %v", identity, got)
		}
	}
}

func TestPeopleJoin(t *testing.T) {
	people := func(pairs ...any) *store.People {
		var p store.People
		for i := 0; i < len(pairs); i += 2 {
			p.Add(pairs[i].(int), pairs[i+1].(string))
		}
		return &p
	}
	all := people(0, "1", 0, "2", 1, "2")
	for _, tt := range []struct {
		name  string
		other *store.People
		want  string
	}{
		{"others", people(7, "3"), ""},
		{"the same set again", people(0, "1"), ""},
		{"one of two that share a number", people(1, "2"), ""},
		{"several with a common one", people(5, "2", 1, "2"), ""},
		{"another set", people(2, "3", 2, "1", 2, "2"), "1, 2, 3"},
		{"one that has other numbers", people(1, "1"), "1"},
	} {
		mixed := all.Join(tt.other)
		if got := mixed; (got == nil) != (tt.want == "") || got != nil && got.String() != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, got, tt.want)
		}
	}
	var many store.People
	for _, n := range []string{"5", "4", "3", "2", "1"} {
		many.Add(9, n)
	}
	base := people(3, "1", 4, "2", 3, "3", 3, "4", 3, "5")
	if m := base.Join(&many); m == nil || m.String() != "1, 2, 3 and 2 more" || m.Set != 9 || m.Other != 3 {
		t.Errorf("%+v", m)
	}
}
