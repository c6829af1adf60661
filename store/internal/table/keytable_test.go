package table

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// KeyTable agrees with a map, also for keys that share their slot.
func TestKeyTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table KeyTable
	want := map[Key128]uint32{}
	for range 10_000 {
		var k Key128
		// Few distinct first halves: the probe sequences collide.
		binary.LittleEndian.PutUint64(k[:], uint64(rng.IntN(50)))
		binary.LittleEndian.PutUint64(k[8:], uint64(rng.IntN(100)))
		n, ok := want[k]
		if got, found := table.Find(k); found != ok || found && got != n {
			t.Fatalf("find %x: %d, %t", k, got, found)
		}
		got, added := table.Insert(k)
		if added == ok || ok && got != n {
			t.Fatalf("insert %x: %d, %t", k, got, added)
		}
		want[k] = got
	}
	if table.Len() != len(want) {
		t.Errorf("%d keys, want %d", table.Len(), len(want))
	}
	for k, n := range want {
		if *table.keys.At(int(n)) != k {
			t.Fatalf("key %d is %x, want %x", n, *table.keys.At(int(n)), k)
		}
	}
}

// BenchmarkKeyTable inserts into a table of a million keys.
func BenchmarkKeyTable(b *testing.B) {
	keys := make([]Key128, 1<<20)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range keys {
		for p := range keys[i] {
			keys[i][p] = byte(rng.Uint32())
		}
	}
	for b.Loop() {
		var t KeyTable
		for _, k := range keys {
			t.Insert(k)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(keys)), "ns/key")
}
