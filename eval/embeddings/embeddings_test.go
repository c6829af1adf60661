package embeddings

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	flatbuffers "github.com/google/flatbuffers/go"

	"facepipe/internal/alloctest"
	"facepipe/internal/arrowmeta"
	"facepipe/internal/npy"
)

func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// arr is an .npy of elements as they are.
func arr(descr string, data []byte, shape ...int) []byte {
	return append(npy.AppendHeader(nil, descr, shape...), data...)
}

func floats(values ...float32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func doubles(order binary.AppendByteOrder, values ...float64) (b []byte) {
	for _, v := range values {
		b = order.AppendUint64(b, math.Float64bits(v))
	}
	return b
}

// letters are texts as numpy keeps them, of width letters.
func letters(width int, texts ...string) (b []byte) {
	for _, text := range texts {
		runes := append([]rune(text), make([]rune, width)...)
		for _, r := range runes[:width] {
			b = binary.LittleEndian.AppendUint32(b, uint32(r))
		}
	}
	return b
}

func npz(t testing.TB, method uint16, parts ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := 0; i < len(parts); i += 2 {
		w, err := z.CreateHeader(&zip.FileHeader{Name: parts[i].(string) + ".npy", Method: method})
		if err == nil {
			_, err = w.Write(parts[i+1].([]byte))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// rows shows a table, a row a line.
func rows(t *Table) string {
	var b strings.Builder
	row := make([]float32, t.Dim())
	for i := range t.Len() {
		key, identity := "-", "-"
		if t.Keys != nil {
			key = t.Keys[i]
		}
		if t.Identities != nil {
			identity = t.Identities[i]
		}
		_, _ = t.Row(i, row)
		fmt.Fprintln(&b, key, identity, row)
	}
	return b.String()
}

func TestRead(t *testing.T) {
	four := floats(1, 2, 3, 4)
	for name, c := range map[string]struct {
		file string
		data []byte
		want string
		note string
	}{
		"npy":                {"e.npy", arr("<f4", four, 2, 2), "- - [1 2]\n- - [3 4]\n", "no keys"},
		"of single rows":     {"e.npy", arr("<f4", four, 2, 1, 2), "- - [1 2]\n- - [3 4]\n", ""},
		"float64":            {"e.npy", arr("<f8", doubles(binary.LittleEndian, 1, 2), 1, 2), "- - [1 2]\n", "64 bits are read as 32"},
		"big-endian float64": {"e.npy", arr(">f8", doubles(binary.BigEndian, 1, 2), 1, 2), "- - [1 2]\n", ""},
		"float16":            {"e.npy", arr("<f2", []byte{0, 0x3c, 0, 0x40}, 1, 2), "- - [1 2]\n", ""},
		"columns first":      {"e.npy", bytes.Replace(arr("<f4", four, 2, 2), []byte("False"), []byte("True "), 1), "- - [1 3]\n- - [2 4]\n", ""},
		"npz": {"e.npz", npz(t, zip.Store, "embs", arr("<f4", four, 2, 2), "embs_f", arr("<f4", four, 2, 2), "imm_classes", arr("<i8", []byte("\x07\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), 2),
			"filenames", arr("<U5", letters(5, "a.jpg", "é.png"), 2)), "a.jpg 7 [1 2]\né.png -1 [3 4]\n", "embeddings are the array embs of"},
		"compressed npz":  {"e.npz", npz(t, zip.Deflate, "arr_0", arr("<f4", four, 2, 2), "arr_1", arr("|S3", []byte("JoeJoe"), 2)), "- Joe [1 2]\n- Joe [3 4]\n", "identities are the array arr_1"},
		"csv":             {"e.csv", []byte("key,identity,e0,e1\na.jpg,A,1,2\n\"b,c.jpg\",,3,nan\n"), "a.jpg A [1 2]\nb,c.jpg  [3 NaN]\n", ""},
		"bare csv":        {"e.csv", []byte("\ufeffa.jpg,1,2\r\nb.jpg,3,4e-1\r\n"), "a.jpg - [1 2]\nb.jpg - [3 0.4]\n", ""},
		"numbers as keys": {"e.tsv", []byte("000001\t1\t2\n000002\t3\t4\n"), "000001 - [1 2]\n000002 - [3 4]\n", ""},
		"savetxt":         {"e.txt", []byte("1.0e+00 2.0e+00\n3.0e+00 4.0e+00\n"), "- - [1 2]\n- - [3 4]\n", ""},
		"pandas":          {"e.csv", []byte(",path,label,embedding\n0,a.jpg,A,\"[1.0, 2.0]\"\n1,b.jpg,B,\"[3.0, 4.0]\"\n"), "a.jpg A [1 2]\nb.jpg B [3 4]\n", ""},
	} {
		table, err := Open(t.Context(), write(t, c.file, c.data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := rows(table); got != c.want || !strings.Contains(strings.Join(table.Notes, "; "), c.note) || len(table.Digest) != 64 {
			t.Errorf("%s: %q, notes %q, want %q", name, got, table.Notes, c.want)
		}
	}
}

func TestKeysBesideAnArray(t *testing.T) {
	data := arr("<f4", floats(1, 2, 3, 4), 2, 2)
	for _, name := range []string{"e.npy.keys.txt", "e.keys.txt", "keys.txt"} {
		path := write(t, "e.npy", data)
		keys := filepath.Join(filepath.Dir(path), name)
		if err := os.WriteFile(keys, []byte("a.jpg\r\n\"b\\n.jpg\"\n\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		table, err := Open(t.Context(), path)
		if err != nil || !slices.Equal(table.Keys, []string{"a.jpg", "b\n.jpg"}) || !strings.Contains(table.Notes[0], keys) {
			t.Errorf("%s: %+v (%v)", name, table, err)
		}
		if err := os.WriteFile(keys, []byte("a.jpg\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "has 1 keys, and there are 2 rows") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":               {nil, "the file is empty"},
		"a web page":          {[]byte("<!DOCTYPE html>"), "is a web page"},
		"a pickle":            {[]byte("\x80\x04\x95"), "pickle, which is never loaded; write a plain matrix"},
		"objects":             {arr("|O", []byte("\x80"), 3), "Python objects, which are never loaded"},
		"objects in an npz":   {npz(t, zip.Store, "embeddings", arr("|O", []byte("\x80"), 3)), "array embeddings: no readable embeddings: it is an array of Python objects"},
		"integers":            {arr("<i4", make([]byte, 16), 2, 2), "an array of <i4, want float16"},
		"one row's shape":     {arr("<f4", floats(1, 2), 2), "an array of shape [2], want rows"},
		"a volume":            {arr("<f4", floats(1, 2, 3, 4, 5, 6, 7, 8), 2, 2, 2), "an array of shape [2 2 2]"},
		"cut short":           {arr("<f4", floats(1, 2, 3), 2, 2), "ends before its 2 rows of 2"},
		"a huge claim":        {arr("<f4", floats(1), 1<<40, 512), "ends before its"},
		"no rows":             {arr("<f4", nil, 0, 2), "no row in it"},
		"an npz of nothing":   {npz(t, zip.Store, "names", arr("<U1", letters(1, "a"), 1)), "none of its arrays names is a matrix"},
		"two matrices":        {npz(t, zip.Store, "p", arr("<f4", floats(1, 2), 1, 2), "q", arr("<f4", floats(1, 2), 1, 2)), "p and q may both be the embeddings"},
		"Parquet":             {[]byte("PAR1....."), "it is Parquet"},
		"a ragged table":      {[]byte("a,1,2\nb,1\n"), "line 2: 2 columns, the first row has 3"},
		"a ragged list":       {[]byte("a,\"[1,2]\"\nb,\"[1]\"\n"), "line 2: an embedding of 1 numbers, the first has 2"},
		"words":               {[]byte("a,1,2\nb,1,x\n"), `line 2: column 3 is "x", no number`},
		"a key twice":         {[]byte("a,1,2\nb,1,2\na,1,2\n"), `the key "a" is there twice, the second time in row 2`},
		"text":                {[]byte("dear madam\nor sir\n"), "line 2: no column of numbers"},
		"a broken Arrow file": {[]byte("ARROW1\x00\x00garbage"), "no readable embeddings"},
	} {
		path := write(t, "e.data", c.data)
		_, err := Open(t.Context(), path)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// What is written is read, to the last bit.
func TestWrite(t *testing.T) {
	keys := []string{"a b.jpg", "é,\"x\".png", "c.png"}
	identities := []string{"A", "", "B"}
	values := [][]float32{{1.5, -2e-30}, {float32(1) / 3, 1e30}, {0, 1}}
	for _, ending := range Endings {
		path := filepath.Join(t.TempDir(), "e"+ending)
		w, err := Create(path, len(keys), 2)
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range keys {
			if err := w.Add(key, identities[i], values[i]); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		table, err := Open(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		row := make([]float32, 2)
		for i := range keys {
			_, _ = table.Row(i, row)
			if !slices.Equal(row, values[i]) || table.Keys[i] != keys[i] || ending != ".npy" && table.Identities[i] != identities[i] {
				t.Errorf("%s: row %d is %v of %+v", ending, i, row, table)
			}
		}
	}
}

// Whatever bytes of an Arrow file are others, reading it ends with rows or an error.
func TestDamagedArrow(t *testing.T) {
	path := filepath.Join(t.TempDir(), "e.arrow")
	w, err := Create(path, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		if err := w.Add(key, "", []float32{1, 2, 3, 4}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 8; at < len(whole); at++ {
		for _, to := range []byte{0x00, 0x7f, 0xff} {
			data := slices.Clone(whole)
			data[at] = to
			path := write(t, "e.arrow", data)
			var table *Table
			var err error
			alloctest.AtMost(t, 300*len(whole)+1<<20, func() { table, err = Open(t.Context(), path) })
			if err == nil && table.Len() > 3 || err != nil && !errors.Is(err, ErrFormat) {
				t.Fatalf("byte %d as %x: %v, %v", at, to, table, err)
			}
		}
	}
}

// What is compressed stands for no more than so many times its bytes, and a batch that is listed twice is
// not read twice.
func TestFilesThatGrow(t *testing.T) {
	const rows = 1 << 20
	zeros := npz(t, zip.Deflate, "arr_0", arr("<f4", make([]byte, 4*rows*16), rows, 16))
	names := npz(t, zip.Deflate, "arr_0", arr("<f4", floats(1, 2, 3, 4), 2, 2), "arr_1", arr("<U65536", make([]byte, 2*4<<16), 2))
	path := filepath.Join(t.TempDir(), "e.arrow")
	w, err := Create(path, arrowRows+1, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i := range arrowRows + 1 {
		if err := w.Add(fmt.Sprint(i), "", make([]float32, 4)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	twice, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	end := len(twice) - 10
	footer := arrowmeta.Root(twice[end-int(binary.LittleEndian.Uint32(twice[end:])) : end])
	blocks, err := footer.Structs(3, blockBytes)
	if err != nil || len(blocks) != 2*blockBytes {
		t.Fatal(len(blocks), err)
	}
	copy(blocks[blockBytes:], blocks[:blockBytes])
	for name, c := range map[string]struct {
		data []byte
		says string
	}{"zeros": {zeros, "256 times as long"}, "names": {names, "256 times as long"}, "twice": {twice, "longer together than the file"}} {
		path := write(t, "e.any", c.data)
		alloctest.AtMost(t, 16<<20+8*len(c.data), func() {
			if _, err := Open(t.Context(), path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// Columns that share a name, or their metadata, are not copied out one by one until memory ends.
func TestSharedArrowTexts(t *testing.T) {
	for name, shared := range map[string]bool{"names": false, "metadata": true} {
		path := write(t, "e.arrow", sharedTexts(shared))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		alloctest.AtMost(t, 8*int(info.Size())+1<<20, func() {
			if _, err := Open(t.Context(), path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "nested without end") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// sharedTexts is an Arrow file of 4096 columns, which all have one name of 64 KiB, or one text of
// metadata.
func sharedTexts(metadata bool) []byte {
	const columns = 4096
	b := flatbuffers.NewBuilder(0)
	text := b.CreateString(strings.Repeat("n", 1<<16))
	b.StartObject(2) // an entry of metadata
	b.PrependUOffsetTSlot(0, text, 0)
	entry := b.EndObject()
	b.StartVector(4, 1, 4)
	b.PrependUOffsetT(entry)
	entries := b.EndVector(1)
	b.StartObject(3)
	kind := b.EndObject()
	b.StartObject(7) // a field
	if metadata {
		b.PrependUOffsetTSlot(6, entries, 0)
	} else {
		b.PrependUOffsetTSlot(0, text, 0)
	}
	b.PrependByteSlot(2, 5, 0) // of text
	b.PrependUOffsetTSlot(3, kind, 0)
	field := b.EndObject()
	b.StartVector(4, columns, 4)
	for range columns {
		b.PrependUOffsetT(field)
	}
	fields := b.EndVector(columns)
	b.StartObject(4) // a schema
	b.PrependUOffsetTSlot(1, fields, 0)
	schema := b.EndObject()
	b.StartObject(5) // the footer
	b.PrependUOffsetTSlot(1, schema, 0)
	b.Finish(b.EndObject())
	footer := b.FinishedBytes()
	file := append([]byte("ARROW1\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00"), footer...)
	return append(binary.LittleEndian.AppendUint32(file, uint32(len(footer))), "ARROW1"...)
}

// A file that is not finished has no name, and leaves nothing behind.
func TestUnfinished(t *testing.T) {
	for _, ending := range Endings {
		dir := t.TempDir()
		w, err := Create(filepath.Join(dir, "e"+ending), 2, 2)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add("a", "", []float32{1, 2}); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err == nil || !strings.Contains(err.Error(), "1 rows of 2") {
			t.Errorf("%s: %v", ending, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s left %v", ending, left)
		}
	}
	if _, err := Create(filepath.Join(t.TempDir(), "e.pkl"), 1, 1); err == nil || !strings.Contains(err.Error(), `".pkl" is none of .npy, .csv`) {
		t.Errorf("%v", err)
	}
	if _, err := Open(t.Context(), "none.npy"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}
