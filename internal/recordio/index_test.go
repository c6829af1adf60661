package recordio

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
)

func readIndex(text string) ([]Entry, error) {
	return ReadIndex(strings.NewReader(text), int64(len(text)))
}

func TestReadIndex(t *testing.T) {
	tests := []struct {
		name, text string
		want       []Entry
	}{
		{"insightface", "0\t0\n1\t40\n2\t80\n", []Entry{{0, 0}, {1, 40}, {2, 80}}},
		{"record 0 behind the images", "1\t0\n2\t40\n0\t80\n3\t120\n", []Entry{{1, 0}, {2, 40}, {0, 80}, {3, 120}}},
		{"spaces, Windows' lines, empty lines, no last newline", "\r\n5  8\r\n\n 7\t 0", []Entry{{7, 0}, {5, 8}}},
		{"large", "18446744073709551615\t9223372036854775804\n", []Entry{{1<<64 - 1, 1<<63 - 4}}},
		{"empty", "", []Entry{}},
		{"empty lines", "\n\n", []Entry{}},
	}
	for _, tt := range tests {
		if got, err := readIndex(tt.text); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %v, %v; want %v", tt.name, got, err, tt.want)
		}
	}
}

func TestReadIndexRefusals(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"one number", "0\t0\n12\n", `line 2: "12" is not a key and an offset`},
		{"a name", "a\t0\n", `line 1: key "a" is not a number`},
		{"negative key", "-1\t0\n", `key "-1"`},
		{"negative offset", "1\t-4\n", `offset "-4"`},
		{"offset between words", "1\t2\n", `offset "2" is not a multiple of 4`},
		{"offset beyond all files", "1\t9223372036854775808\n", "offset"},
		{"three numbers", "1\t4\t8\n", `offset "4\t8"`},
		{"key twice", "1\t0\n2\t4\n1\t8\n", "key 1 is there twice"},
		{"offset twice", "1\t0\n2\t4\n3\t0\n", "keys 1 and 3 have one offset, 0"},
		{"long line", "1\t0\n2\t" + strings.Repeat("0", 300) + "\n", "line 2: longer than 256"},
		{"no lines at all", strings.Repeat("x", 1<<20), "line 1: longer than"},
	}
	for _, tt := range tests {
		if got, err := readIndex(tt.text); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, error %v, want %q", tt.name, got, err, tt.want)
		}
	}
}

func TestReadIndexOfManyInAnyOrder(t *testing.T) {
	const n = 20000
	rng := rand.New(rand.NewPCG(1, 1))
	keys := rng.Perm(n)
	var lines []string
	want := make([]Entry, n)
	for i, key := range keys {
		want[i] = Entry{uint64(key), int64(i * 8)}
		lines = append(lines, fmt.Sprintf("%d\t%d", key, i*8))
	}
	rng.Shuffle(n, func(i, j int) { lines[i], lines[j] = lines[j], lines[i] })
	got, err := readIndex(strings.Join(lines, "\n"))
	if err != nil || !slices.Equal(got, want) {
		t.Error("entries are not in the order of their offsets", err)
	}
	if cap(got) != n {
		t.Errorf("room for %d entries, want %d", cap(got), n)
	}
}

func FuzzReadIndex(f *testing.F) {
	f.Add("0\t0\n1\t40\n2\t80\n")
	f.Add("1 8\r\n0\t4")
	f.Add("x\n\n9999999999999999999999\t4")
	f.Fuzz(func(t *testing.T, text string) {
		alloctest.AtMost(t, 64*len(text)+1<<20, func() { _, _ = readIndex(text) })
		got, err := readIndex(text)
		if err != nil {
			return
		}
		keys := map[uint64]bool{}
		for i, e := range got {
			if e.Offset < 0 || e.Offset%4 != 0 || i > 0 && e.Offset <= got[i-1].Offset || keys[e.Key] {
				t.Fatalf("%q gave %v", text, got)
			}
			keys[e.Key] = true
		}
	})
}
