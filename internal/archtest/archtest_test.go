package archtest

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"
)

// TestHouse holds the repository itself to the rules.
func TestHouse(t *testing.T) {
	found, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range found {
		t.Error(v)
	}
}

// TestTreeIsSeen guards against a walk that finds nothing and so passes.
func TestTreeIsSeen(t *testing.T) {
	tr, err := load(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	rooms := map[string]int{}
	for _, f := range tr.goFiles {
		rooms[room(f.path)]++
	}
	for _, r := range []string{"cmd", "internal", "store"} {
		if rooms[r] == 0 {
			t.Errorf("no Go file seen in %s", r)
		}
	}
}

func TestRules(t *testing.T) {
	doc := "// Package p is documented.\n"
	put := "TO" + "DO"
	tests := []struct {
		name, file, source string
		want               string // part of the only violation; "" for none
	}{
		{"store may import internal", "store/a.go", doc + `package store; import _ "facepipe/internal/durable"`, ""},
		{"a room may import its own sub-packages", "student/a.go", doc + `package student; import _ "facepipe/student/net"`, ""},
		{"cmd may import rooms", "cmd/pipe/a.go", doc + `package main; import _ "facepipe/ingest"`, ""},
		{"everyone may import testdata", "eval/a.go", doc + `package eval; import _ "facepipe/testdata"`, ""},
		{"rooms keep apart", "ingest/a.go", doc + `package ingest; import _ "facepipe/teacher"`, "ingest must not import teacher"},
		{"sub-packages of rooms keep apart", "student/net/a.go", doc + `package net; import _ "facepipe/eval"`, "student must not import eval"},
		{"tests keep apart too", "eval/a_test.go", `package eval; import _ "facepipe/student"`, "eval must not import student"},
		{"store knows no room", "store/a.go", doc + `package store; import _ "facepipe/ingest/align"`, "store must not import ingest/align"},
		{"internal knows nothing above", "internal/x/a.go", doc + `package x; import _ "facepipe/store"`, "internal must not import store"},
		{"a wing may import the one below", "store/cache/a.go", doc + `package cache; import _ "facepipe/store"`, ""},
		{"a wing must not import the one above", "store/a.go", doc + `package store; import _ "facepipe/store/cache"`, "store must not import store/cache"},
		{"tests import any wing", "store/a_test.go", `package store_test; import _ "facepipe/store/cache"`, ""},
		{"a wing that is not listed", "store/attic/a.go", doc + `package attic`, "in no row"},
		{"builders are for tests", "cmd/pipe/a.go", doc + `package main; import _ "facepipe/store/storetest"`, "for tests alone"},
		{"tests use builders", "teacher/a_test.go", `package teacher; import _ "facepipe/store/storetest"`, ""},
		{"long main", "cmd/pipe/main.go", doc + "package main\n" + strings.Repeat("\n", maxMainLines), "at most 40"},
		{"short main", "cmd/pipe/main.go", doc + "package main\n", ""},
		{"init", "eval/a.go", doc + `package eval; func init() {}`, "init function"},
		{"a method may be called init", "eval/a.go", doc + `package eval; type t int; func (t) init() {}`, ""},
		{"flag variable", "eval/a.go", doc + `package eval; import "flag"; var out = flag.String("out", "", "")`, "package-level flag"},
		{"flag variable of a test", "eval/a_test.go", `package eval; import "flag"; var update = flag.Bool("update", false, "")`, ""},
		{"command variable", "cmd/pipe/a.go", doc + `package main; import "github.com/spf13/cobra"; var c = &cobra.Command{}`, "package-level flag"},
		{"a table of functions on flags is none", "cmd/pipe/a.go", doc + `package main; import "flag"; var f = func() { flag.Parse() }`, ""},
		{"a file opened bare", "eval/a.go", doc + `package eval; import "os"; var f, err = os.Open("x")`, "os.Open: open it by internal/regular"},
		{"a file read bare", "cmd/pipe/a.go", doc + `package main; import "os"; func f() { os.ReadFile("x") }`, "os.ReadFile"},
		{"a file written bare", "store/a.go", doc + `package store; import "os"; func f() { os.WriteFile("x", nil, 0) }`, "os.WriteFile"},
		{"a file opened to append", "store/a.go", doc + `package store; import "os"; var open = os.OpenFile`, "os.OpenFile"},
		{"the opener opens", "internal/regular/a.go", doc + `package regular; import "os"; var open = os.OpenFile`, ""},
		{"tests open", "eval/a_test.go", `package eval; import "os"; var read = os.ReadFile`, ""},
		{"packages of tests open", "store/storetest/a.go", doc + `package storetest; import "os"; var read = os.ReadFile`, ""},
		{"benchmarks open", "bench/a/a.go", doc + `package main; import "os"; var read = os.ReadFile`, ""},
		{"files are listed and removed", "eval/a.go", doc + `package eval; import "os"; var list, remove, stat = os.ReadDir, os.Remove, os.Stat`, ""},
		{"shapeless name", "internal/a/a.go", doc + `package utils`, "says nothing"},
		{"work put off", "eval/a.go", doc + "package eval\n// " + put + ": later\n", put},
		{"work put off in C++", "student/torch/engine/a.cc", "// " + put, put},
		{"a longer word is another word", "eval/a.go", doc + "package eval\n// " + put + "S\n", ""},
		{"undocumented package", "eval/a.go", `package eval`, "package has no doc comment"},
		{"undocumented function", "eval/a.go", doc + `package eval; func F() {}`, "exported F has no doc"},
		{"undocumented method", "eval/a.go", doc + "package eval\n// T is.\ntype T[A any] int\nfunc (*T[A]) M() {}", "exported M has no doc"},
		{"method of an unexported type", "eval/a.go", doc + `package eval; type t int; func (t) M() {}`, ""},
		{"well-known method", "eval/a.go", doc + "package eval\n// T is.\ntype T int\nfunc (T) String() string { return `` }", ""},
		{"undocumented constant", "eval/a.go", doc + `package eval; const C = 1`, "exported C has no doc"},
		{"a group's comment covers it", "eval/a.go", doc + "package eval\n// Sizes.\nconst (\nA = 1\nB = 2\n)", ""},
		{"exports of tests need none", "eval/a_test.go", `package eval; func F() {}`, ""},
		{"foreign code is skipped", "third_party/onnxruntime/node_modules/x/a.go", `package utils`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			found, err := Check(fstest.MapFS{tt.file: {Data: []byte(tt.source)}})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.want == "" && len(found) > 0:
				t.Errorf("found %v, want nothing", found)
			case tt.want != "" && (len(found) != 1 || !strings.Contains(found[0].What, tt.want)):
				t.Errorf("found %v, want one with %q", found, tt.want)
			}
		})
	}
}

func TestSyntaxErrorIsAnError(t *testing.T) {
	_, err := Check(fstest.MapFS{"eval/a.go": {Data: []byte("package")}})
	if err == nil || !strings.Contains(err.Error(), "eval/a.go") {
		t.Errorf("error %v, want one that names the file", err)
	}
}
