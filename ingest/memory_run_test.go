package ingest_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"facepipe/ingest"
)

// childOptions is the environment variable that makes TestMemoryChild a run of its own, of these
// options.
const childOptions = "PIPE_TEST_INGEST"

// child is the options of such a run, with those that are left out of their JSON.
type child struct {
	Options ingest.Options
	Out     string
	Memory  int64
	Workers int
}

// measured is what a run in a process of its own did.
type measured struct {
	Summary ingest.Summary
	Peak    int64 // bytes of the process
}

func TestMemoryChild(t *testing.T) {
	text := os.Getenv(childOptions)
	if text == "" {
		t.Skip("is the other end of the tests of memory")
	}
	var c child
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	o := c.Options
	o.Out, o.Memory, o.Workers, o.MaxRejectRate = c.Out, c.Memory, c.Workers, 1
	s, err := ingest.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	kib, err := strconv.ParseInt(string(regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(status)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(measured{s, kib << 10}); err != nil {
		t.Fatal(err)
	}
}

// runAlone runs an ingest in a process of its own, of which the first line of output is the result.
func runAlone(t *testing.T, o ingest.Options) measured {
	t.Helper()
	text, err := json.Marshal(child{o, o.Out, o.Memory, o.Workers})
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMemoryChild$")
	c.Env = append(os.Environ(), childOptions+"="+string(text))
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var m measured
	for line := range bytes.Lines(out) {
		if json.Unmarshal(line, &m) == nil {
			return m
		}
	}
	t.Fatalf("no result in\n%s", out)
	return m
}

// greedy are inputs whose sizes are multiples of scale.
type greedy struct {
	dir        string
	side       int // of pictures that can be decoded
	pictures   int // how many
	huge       int // side of one that cannot, for this reason
	hugeReason string
	readable   int64 // bytes of files that are read one at a time
	refused    int64 // bytes of what is not read
}

// layOut writes the inputs: a folder, an archive, records and a verification set.
func (g greedy) layOut(t *testing.T) ingest.Options {
	t.Helper()
	photos := filepath.Join(g.dir, "photos")
	if err := os.Mkdir(photos, 0o755); err != nil {
		t.Fatal(err)
	}
	deep := deepPNG(t, g.side, true)
	for i := range g.pictures {
		g.write(t, fmt.Sprintf("photos/%03d.png", i), deep, 0)
	}
	for i := range 4 {
		g.write(t, fmt.Sprintf("photos/sparse%d.jpg", i), nil, g.refused)
		g.write(t, fmt.Sprintf("photos/empty segments%d.jpg", i), []byte("\xff\xd8\xff"), g.readable)
	}
	g.write(t, "photos/huge.png", deepPNG(t, g.huge, false), g.readable/2)
	g.write(t, "photos/endless.png", deep[:60], g.refused)
	g.write(t, "photos/wide.bmp", append(bmpHeader(1<<14, 1<<14), make([]byte, 100)...), g.readable)
	g.write(t, "landmarks.txt", g.landmarks(), 0)
	g.write(t, "members.tar.gz", g.archive(t), 0)
	g.write(t, "set.bin", binHead(g.refused), g.refused+int64(len(binHead(0)))-3)
	if err := appendFile(filepath.Join(g.dir, "set.bin"), binTail()); err != nil {
		t.Fatal(err)
	}
	g.write(t, "train.rec", recordHead(g.readable+g.readable/2), g.readable+g.readable/2+8+24)
	o := ingest.Options{SamePeople: true, Landmarks: filepath.Join(g.dir, "landmarks.txt"), Out: filepath.Join(g.dir, "out.ds")}
	for _, s := range []string{"folder=photos", "webdataset=members.tar.gz", "bin=set.bin", "recordio=train.rec"} {
		kind, name, _ := strings.Cut(s, "=")
		o.Sources = append(o.Sources, kind+"="+filepath.Join(g.dir, name))
	}
	return o
}

// write writes a file of size bytes, or its beginning, whatever is longer. What follows the
// beginning is a hole.
func (g greedy) write(t *testing.T, name string, head []byte, size int64) {
	t.Helper()
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path, head, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, max(size, int64(len(head)))); err != nil {
		t.Fatal(err)
	}
}

func appendFile(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Close())
}

// landmarks puts a face into all photographs that can be decoded.
func (g greedy) landmarks() []byte {
	var b bytes.Buffer
	for i := range g.pictures {
		fmt.Fprintf(&b, "%03d.png 538 552 573 551 556 572 541 592 570 592\n", i)
	}
	for _, name := range []string{"huge.png", "wide.bmp"} {
		fmt.Fprintf(&b, "%s 538 552 573 551 556 572 541 592 570 592\n", name)
	}
	return b.Bytes()
}

// archive is a compressed one of three large members, two of which begin like images.
func (g greedy) archive(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	zeros := packed(t, make([]byte, 1<<20))
	for i, head := range []string{"\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "zeros"} {
		first := make([]byte, 512)
		copy(first, head)
		out.Write(packed(t, append(tarHeader(fmt.Sprintf("%d.jpg", i), g.refused), first...)))
		for range g.refused>>20 - 1 {
			out.Write(zeros)
		}
		out.Write(packed(t, make([]byte, 1<<20-512)))
	}
	out.Write(packed(t, make([]byte, 1024)))
	return out.Bytes()
}

func packed(t *testing.T, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func tarHeader(name string, size int64) []byte {
	b := make([]byte, 512)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[148:], "        ")
	b[156] = '0'
	copy(b[257:], "ustar\x0000")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// deepPNG is a black square of 16 bits a sample, or only the beginning of one.
func deepPNG(t *testing.T, side int, whole bool) []byte {
	t.Helper()
	chunk := func(out []byte, kind string, body []byte) []byte {
		out = binary.BigEndian.AppendUint32(out, uint32(len(body)))
		from := len(out)
		out = append(append(out, kind...), body...)
		return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[from:]))
	}
	header := binary.BigEndian.AppendUint32(nil, uint32(side))
	header = append(binary.BigEndian.AppendUint32(header, uint32(side)), 16, 2, 0, 0, 0)
	out := chunk([]byte("\x89PNG\r\n\x1a\n"), "IHDR", header)
	if !whole {
		return out
	}
	var b bytes.Buffer
	z, err := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]byte, 1+6*side)
	for range side {
		if _, err := z.Write(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return chunk(chunk(out, "IDAT", b.Bytes()), "IEND", nil)
}

// bmpHeader is that of 24 bits a pixel.
func bmpHeader(w, h uint32) []byte {
	b := []byte("BM\x00\x00\x00\x00\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00")
	b = binary.LittleEndian.AppendUint32(b, w)
	b = binary.LittleEndian.AppendUint32(b, h)
	b = append(b, 1, 0, 24, 0)
	return append(b, make([]byte, 24)...)
}

// binHead and binTail are a pickle of two images, the second of which has size bytes, and a flag.
func binHead(size int64) []byte {
	b := []byte("\x80\x03](C\x03\xff\xd8\xffB")
	b = binary.LittleEndian.AppendUint32(b, uint32(size))
	return append(b, "\xff\xd8\xff"...)
}

func binTail() []byte { return []byte("e]\x88a\x86.") }

// recordHead begins a record with an image of size bytes.
func recordHead(size int64) []byte {
	b := []byte("\x0a\x23\xd7\xce")
	b = binary.LittleEndian.AppendUint32(b, uint32(size+24))
	b = append(b, make([]byte, 24)...)
	return append(b, "\xff\xd8\xff"...)
}

// What is in flight stays within --memory, whatever the inputs claim and hold, and what does not
// fit by itself is refused with what it would take.
func TestMemoryIsBounded(t *testing.T) {
	const memory = 128 << 20
	g := greedy{dir: t.TempDir(), side: 1500, pictures: 48, huge: 9990, hugeReason: "--memory", readable: memory / 5 &^ 3, refused: memory / 2}
	g.check(t, memory, 48)
}

// TestAttackMemory is the same at full size, as far as a frame of RecordIO goes: 512 MiB.
func TestAttackMemory(t *testing.T) {
	if os.Getenv("PIPE_ATTACK") == "" {
		t.Skip("takes minutes: make test-attack")
	}
	const memory = 3 << 29
	g := greedy{dir: t.TempDir(), side: 8600, pictures: 3, huge: 1 << 17, hugeReason: "more than the limit", readable: memory / 5 &^ 3, refused: 1 << 30}
	g.check(t, memory, 8)
}

// besides is what the program takes beside --memory, without a detector, as pipe ingest --help says.
const besides = 256 << 20

func (g greedy) check(t *testing.T, memory int64, workers int) {
	o := g.layOut(t)
	o.Memory, o.Workers = memory, workers
	m := runAlone(t, o)
	t.Logf("%d MiB at most with --memory of %d MiB; %+v", m.Peak>>20, memory>>20, m.Summary)
	if m.Peak > memory+besides {
		t.Errorf("took %d bytes, more than the %d of --memory and %d", m.Peak, memory, besides)
	}
	s := m.Summary
	if s.Memory != memory || s.Written != 1 || s.Duplicates != g.pictures-1 {
		t.Errorf("memory %d, %d written and %d duplicates of %d pictures", s.Memory, s.Written, s.Duplicates, g.pictures)
	}
	rejects, err := os.ReadFile(filepath.Join(o.Out, "rejects.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for key, reason := range map[string]string{
		"huge.png": g.hugeReason, "sparse3.jpg": "not an image", "empty segments2.jpg": "ends before", "endless.png": "--memory", "wide.bmp": "more than the limit",
		"members/0.jpg": "--memory", "members/1.jpg": "--memory", "members/2.jpg": "not an image", "000001": "--memory", "0": "--memory",
	} {
		line := regexp.MustCompile(`.*"key":"` + regexp.QuoteMeta(key) + `".*`).Find(rejects)
		if !strings.Contains(string(line), reason) {
			t.Errorf("%s: %q, want %s", key, line, reason)
		}
	}
}
