package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/half"
	"facepipe/store"
	"facepipe/store/internal/table"
	"facepipe/store/storetest"
)

// widen agrees with package half, whatever the length and the alignment.
func TestWiden(t *testing.T) {
	src := make([]uint16, 1<<16)
	for h := range src {
		src[h] = uint16(h)
	}
	dst := make([]float32, len(src)+1)
	check := func(dst []float32, src []uint16) {
		for i, h := range src {
			got, want := dst[i], half.ToFloat(h)
			if math.Float32bits(got) != math.Float32bits(want) && (got == got || want == want) {
				t.Fatalf("%d numbers: %#04x becomes %g, want %g", len(src), h, got, want)
			}
		}
	}
	table.Widen(dst[:len(src)], src)
	check(dst, src)
	for n := range 70 {
		for offset := range 3 {
			part := src[0x3bf0+offset:][:n]
			dst[n] = -1
			table.Widen(dst[:n], part)
			check(dst, part)
			if dst[n] != -1 {
				t.Fatalf("%d numbers: wrote beyond the end", n)
			}
		}
	}
}

// KeyTable agrees with a map, also for keys that share their slot.
func TestKeyTable(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var table table.KeyTable
	want := map[table.Key128]uint32{}
	for range 10_000 {
		var k table.Key128
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

func TestSealed(t *testing.T) {
	doc := store.DatasetDoc{Header: table.HeaderOf(table.FormatDataset), Contract: storetest.Contract, Shards: []store.ShardRef{}}
	if err := doc.setDigest(); err != nil {
		t.Fatal(err)
	}
	data, err := table.EncodeSealed(&doc)
	if err != nil {
		t.Fatal(err)
	}
	var back store.DatasetDoc
	if err := table.DecodeSealed(data, table.FormatDataset, &back); err != nil || back.Digest != doc.Digest {
		t.Fatalf("%+v, %v", back, err)
	}
	for name, tc := range map[string]struct {
		change func(string) string
		want   string
	}{
		"space added":   {func(s string) string { return strings.Replace(s, `"rows": 0`, `"rows":  0`, 1) }, "seal"},
		"number":        {func(s string) string { return strings.Replace(s, `"rows": 0`, `"rows": 1`, 1) }, "seal"},
		"no seal":       {func(s string) string { return s[:strings.Index(s, table.SealLead)] + "\n}\n" }, "seal"},
		"another kind":  {func(s string) string { return strings.Replace(s, table.FormatDataset, table.FormatCrops, 1) }, "format"},
		"version 0":     {func(s string) string { return strings.Replace(s, `"version": 2`, `"version": 0`, 1) }, "version"},
		"cut":           {func(s string) string { return s[:len(s)-1] }, "seal"},
		"not JSON":      {func(s string) string { return s[1:] }, "JSON"},
		"empty":         {func(string) string { return "" }, "JSON"},
		"trailing text": {func(s string) string { return s + "\n" }, "seal"},
	} {
		if err := table.DecodeSealed([]byte(tc.change(string(data))), table.FormatDataset, &back); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want something about %s", name, err, tc.want)
		}
	}
}

func TestID(t *testing.T) {
	rgb := make([]byte, 3*8*8)
	id := store.CropID(storetest.Contract, rgb)
	back, err := store.ParseID(id.String())
	if err != nil || back != id || len(id.String()) != 32 {
		t.Errorf("%v, %v", back, err)
	}
	var text store.ID
	if err := text.UnmarshalText([]byte(id.String())); err != nil || text != id {
		t.Errorf("%v, %v", text, err)
	}
	for _, s := range []string{"", "12", id.String() + "0", "g" + id.String()[1:]} {
		if _, err := store.ParseID(s); err == nil {
			t.Errorf("%q is an id", s)
		}
	}
	other := storetest.Contract
	other.Template = "another"
	rgb2 := slices.Clone(rgb)
	rgb2[100]++
	if store.CropID(other, rgb) == id || store.CropID(storetest.Contract, rgb2) == id {
		t.Error("different crops have one id")
	}
	other = storetest.Contract
	other.Decoder = "another"
	if store.CropID(other, rgb) != id {
		t.Error("the decoder is in the id")
	}
	defer func() {
		if recover() == nil {
			t.Error("a crop of another size has an id")
		}
	}()
	store.CropID(storetest.Contract, rgb[1:])
}

func TestShardNames(t *testing.T) {
	for n, want := range map[int]string{0: "000000.arrow", 42: "000042.arrow", 1234567: "1234567.arrow"} {
		if got := table.ArrowName(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
		if got, ok := table.ParseShardName(want, table.ArrowSuffix); got != n || !ok {
			t.Errorf("%s is %d, %t", want, got, ok)
		}
	}
	for _, s := range []string{"0.arrow", "0000001.arrow", "-00001.arrow", "000001.json", ".arrow", "99999999999999999999.arrow", "+00001.arrow"} {
		if _, ok := table.ParseShardName(s, table.ArrowSuffix); ok {
			t.Errorf("%s is a shard", s)
		}
	}
}

func TestFileInfoValidate(t *testing.T) {
	good := func() table.FileInfo {
		return table.FileInfo{Bytes: 100, SHA256: strings.Repeat("0", 64), Batch: []table.BatchInfo{
			{Offset: 10, Bytes: 40, Rows: 3, PayloadBytes: 8}, {Offset: 50, Bytes: 30, Rows: 2},
		}}
	}
	if f := good(); f.Validate(5) != nil || f.Rows() != 5 {
		t.Fatal(f.Validate(5))
	}
	for name, spoil := range map[string]func(*table.FileInfo){
		"digest":           func(f *table.FileInfo) { f.SHA256 = "00" },
		"no batches":       func(f *table.FileInfo) { f.Batch = nil },
		"gap":              func(f *table.FileInfo) { f.Batch[1].Offset++ },
		"beyond the file":  func(f *table.FileInfo) { f.Batch[1].Bytes = 51 },
		"overflow":         func(f *table.FileInfo) { f.Batch[1].Bytes = math.MaxInt64 },
		"negative":         func(f *table.FileInfo) { f.Batch[0].Bytes = -40 },
		"offset 0":         func(f *table.FileInfo) { f.Batch = f.Batch[1:]; f.Batch[0].Offset = 0 },
		"payload too long": func(f *table.FileInfo) { f.Batch[0].PayloadBytes = 40 },
		"negative payload": func(f *table.FileInfo) { f.Batch[0].PayloadBytes = -1 },
		"rows":             func(f *table.FileInfo) { f.Batch[0].Rows++ },
		"too few rows":     func(f *table.FileInfo) { f.Batch[0].Rows-- },
		"no rows":          func(f *table.FileInfo) { f.Batch[0].Rows = 0 },
	} {
		f := good()
		spoil(&f)
		if f.Validate(5) == nil {
			t.Errorf("%s: valid", name)
		}
	}
}

// A content digest tells lists of strings apart that only differ in where one ends.
func TestContentDigest(t *testing.T) {
	a := store.CropManifest{Rejects: []store.Reject{{Key: "ab", Stage: "c"}}}
	b := store.CropManifest{Rejects: []store.Reject{{Key: "a", Stage: "bc"}}}
	c := store.CropManifest{Duplicates: []store.Duplicate{{Key: "ab", Identity: "c"}}}
	d := store.CropManifest{Rejects: []store.Reject{{Key: "ab", Stage: "c", Reason: "worded otherwise"}}, Sources: []store.SourceInfo{storetest.Source}}
	sum := func(m store.CropManifest) table.Digest {
		s, err := m.contentDigest()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if sum(a) == sum(b) || sum(a) == sum(c) {
		t.Error("different contents have one digest")
	}
	if sum(a) != sum(d) {
		t.Error("wording and paths are in the digest")
	}
}

func TestDamageError(t *testing.T) {
	inner := errors.New("cause")
	err := table.Damaged("a/b", "outer: %w", inner)
	if !errors.Is(err, store.ErrDamaged) || !errors.Is(err, inner) || !bytes.Contains([]byte(err.Error()), []byte("a/b")) {
		t.Error(err)
	}
	if table.AsDamage("c", err) != err || table.AsDamage("c", nil) != nil || !errors.Is(table.AsDamage("c", inner), store.ErrDamaged) {
		t.Error("asDamage")
	}
}

// Prefetching changes nothing, at any range of rows, of shards with and without a file.
func TestPrefetch(t *testing.T) {
	d := storetest.Open(t, storetest.Build(t, 1100, 1100))
	crops, err := d.CropShard(0)
	if err != nil {
		t.Fatal(err)
	}
	defer storetest.Close(t, crops)
	for _, span := range [][2]int{{0, 0}, {0, 1}, {0, 1100}, {511, 2}, {1099, 1}, {1024, 76}} {
		crops.Prefetch(span[0], span[1])
	}
	if c, err := crops.Crop(600); err != nil || c.Key != storetest.Crop(0, 600).Key {
		t.Errorf("%q, %v", c.Key, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("rows out of range were prefetched")
		}
	}()
	crops.Prefetch(1000, 101)
}
