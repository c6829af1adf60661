package webdataset_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"facepipe/internal/webdataset"

	"github.com/klauspost/compress/zstd"
)

func zstandard(t testing.TB, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := zstd.NewWriter(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// Samples are whole in whatever order an archive has their members.
func TestMembersThatLieApart(t *testing.T) {
	archive := pack(t, entry{"0.jpg", "A"}, entry{"1.jpg", "B"}, entry{"1.json", "{}"}, entry{"0.json", "[]"}, entry{"2.txt", "C"}, entry{"0.cls", "7"})
	want := []string{`0: jpg="A" json="[]" cls="7"`, `1: jpg="B" json="{}"`, `2: txt="C"`}
	for _, data := range [][]byte{archive, compressed(t, archive), zstandard(t, archive)} {
		wantLines(t, walk(t, data, nil), want...)
	}
	// The same sample twice is no sample whose members lie apart.
	joined := pack(t, entry{"0.jpg", "A"}, entry{"0.cls", "1"}, entry{"1.jpg", "B"}, entry{"0.jpg", "C"}, entry{"0.cls", "2"})
	wantLines(t, walk(t, joined, nil), `0: jpg="A" cls="1"`, `1: jpg="B"`, `0: jpg="C" cls="2"`)
}

func TestShuffledArchive(t *testing.T) {
	var entries []entry
	var want []string
	for i := range 500 {
		name := fmt.Sprintf("%03d", i)
		entries = append(entries, entry{name + ".jpg", name}, entry{name + ".cls", name})
		want = append(want, fmt.Sprintf("%s: cls=%q jpg=%q", name, name, name))
	}
	r := rand.New(rand.NewPCG(1, 2))
	r.Shuffle(len(entries), func(i, k int) { entries[i], entries[k] = entries[k], entries[i] })
	lines := walk(t, pack(t, entries...), nil)
	for i, line := range lines {
		key, rest, _ := strings.Cut(line, ": ")
		members := strings.Fields(rest)
		slices.Sort(members)
		lines[i] = key + ": " + strings.Join(members, " ")
	}
	slices.Sort(lines)
	wantLines(t, lines, want...)
}

// Where members lie apart, damage may have taken any sample's labels.
func TestDamageAmongMembersThatLieApart(t *testing.T) {
	archive := pack(t, entry{"0.jpg", "A"}, entry{"1.jpg", "B"}, entry{"2.jpg", "C"}, entry{"0.cls", "0"}, entry{"1.cls", "1"}, entry{"2.cls", "2"})
	archive[bytes.Index(archive, []byte("1.cls"))] ^= 1
	lines := walk(t, archive, nil)
	if len(lines) != 4 || !strings.HasPrefix(lines[0], "damage") || !strings.Contains(lines[2], `1: jpg="B" fault: archive is damaged, and members may be missing`) {
		t.Errorf("%q", lines)
	}
}

// A compressed shard that does not fit into memory is refused as a whole.
func TestMembersThatLieTooFarApart(t *testing.T) {
	var entries []entry
	large := strings.Repeat("x", 4<<20-1)
	for i := range 17 {
		entries = append(entries, entry{fmt.Sprintf("%d.jpg", i), large})
	}
	for i := range 17 {
		entries = append(entries, entry{fmt.Sprintf("%d.cls", i), "1"})
	}
	archive := pack(t, entries...)
	if lines := walk(t, compressed(t, archive), nil); len(lines) != 1 || !strings.Contains(lines[0], "tar --sort=name") {
		t.Errorf("%.300q", lines)
	}
	if lines := walk(t, archive, func(*webdataset.Member) bool { return false }); len(lines) != 17 || !strings.HasSuffix(lines[0], `cls="1"`) {
		t.Errorf("uncompressed: %.300q", lines)
	}
}

func TestForeignArchives(t *testing.T) {
	for head, want := range map[string]string{
		"\xfd7zXZ\x00\x00\x04": "unxz", "BZh91AY&SY": "bunzip2", "PK\x03\x04\x14\x00": "zip archive", "\x04\x22\x4d\x18d@": "unlz4",
	} {
		if _, err := webdataset.Open(saved(t, []byte(head))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", head, err, want)
		}
	}
}

func TestDamagedZstandard(t *testing.T) {
	archive, _ := many(t, 50)
	data := zstandard(t, archive)
	for _, broken := range [][]byte{data[:len(data)/2], append(slices.Clone(data[:len(data)/2]), "no frame at all"...)} {
		lines := walk(t, broken, nil)
		if !strings.Contains(strings.Join(lines, "\n"), "damage at") {
			t.Errorf("%d bytes of %d: %q", len(broken), len(data), lines)
		}
	}
	wantLines(t, walk(t, zstandard(t, pack(t, entry{"0.jpg", "A"})), nil), `0: jpg="A"`)
}
