package index

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// The sorter agrees with a sorted map, in memory and on disk, whatever the keys.
func TestEntrySorter(t *testing.T) {
	for _, tc := range []struct {
		name           string
		entries, limit int
		key            func(rng *rand.Rand, i int) string
		runs           int // at least
	}{
		{"nothing", 0, 100, nil, 0},
		{"one", 1, 100, func(_ *rand.Rand, i int) string { return "a" }, 0},
		{"in memory", 1000, 1 << 20, func(rng *rand.Rand, i int) string { return fmt.Sprint(rng.Uint64()) }, 0},
		{"many runs", 5000, 1 << 10, func(rng *rand.Rand, i int) string { return fmt.Sprint(rng.Uint64()) }, 50},
		{"sorted already", 5000, 1 << 12, func(_ *rand.Rand, i int) string { return fmt.Sprintf("%08d", i) }, 10},
		{"one long beginning", 3000, 1 << 12, func(rng *rand.Rand, i int) string { return fmt.Sprintf("identity_%04d/x", rng.IntN(1e4)) }, 10},
		{"keys come again", 3000, 1 << 10, func(rng *rand.Rand, i int) string { return fmt.Sprint(rng.IntN(50)) }, 10},
		{"shorter than the lead", 3000, 1 << 10, func(rng *rand.Rand, i int) string { return string(make([]byte, 1+rng.IntN(9))) }, 10},
		{"larger than the memory", 20, 100, func(rng *rand.Rand, i int) string {
			return string(bytes.Repeat([]byte{byte(rng.IntN(4))}, 1000+rng.IntN(9)))
		}, 19},
	} {
		t.Run(tc.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			folder := t.TempDir()
			s := newEntrySorter(folder, tc.limit)
			want := map[string]string{}
			for i := range tc.entries {
				key := tc.key(rng, i)
				value, ok := want[key]
				if !ok {
					value = string(make([]byte, rng.IntN(4))) + fmt.Sprint(i)
					want[key] = value
				}
				if err := s.add([]byte(key), []byte(value)); err != nil {
					t.Fatal(err)
				}
			}
			if len(s.ends) < tc.runs {
				t.Errorf("%d runs, want %d or more", len(s.ends), tc.runs)
			}
			var keys []string
			err := s.each(func(key, value []byte) error {
				if want[string(key)] != string(value) {
					t.Fatalf("key %q has value %q, want %q", key, value, want[string(key)])
				}
				keys = append(keys, string(key))
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if sorted := slices.Sorted(maps.Keys(want)); !slices.Equal(keys, sorted) {
				t.Errorf("%d keys came, want %d in their order", len(keys), len(sorted))
			}
			mustClose(t, s.close)
			mustClose(t, s.close)
			if left, _ := os.ReadDir(folder); len(left) > 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestEntrySorterFails(t *testing.T) {
	s := newEntrySorter(t.TempDir(), 100)
	if err := s.add(make([]byte, 1<<16), nil); err == nil {
		t.Error("took a key that is too long")
	}
	boom := errors.New("boom")
	for i := range 100 {
		if err := s.add(fmt.Append(nil, i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.each(func(_, _ []byte) error { return boom }); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	mustClose(t, s.close)

	s = newEntrySorter(t.TempDir(), 100)
	for i := range 100 {
		if err := s.add(fmt.Append(nil, i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Truncate(s.file.Name(), s.ends[0]/2); err != nil {
		t.Fatal(err)
	}
	if err := s.each(func(_, _ []byte) error { return nil }); err == nil {
		t.Error("a file that was cut short is no error")
	}
	mustClose(t, s.close)
	s = newEntrySorter("/none/such", 10)
	if err := errors.Join(s.add([]byte("0123456789"), nil), s.add([]byte("1"), nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}
