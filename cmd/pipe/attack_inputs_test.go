package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"

	"facepipe/internal/imgcodec"
	"facepipe/internal/npy"
	"facepipe/internal/synthface"
	"facepipe/store/storetest"
)

// hostile is an input as somebody makes it who means harm, or a disk that is broken.
type hostile struct {
	kind string // of the table
	name string // of the file
	what string // is in it, if the name does not say so
	line string // what the program is told, in the folder that make filled
	make func(dir string) error
	full bool // of the long form: large
	// good is how many faces beside it must come through; 0 if it is the only input.
	good int
	says []string // what a refusal may name instead of the file: settings
}

// inputPeak bounds the memory of a verb with hostile input.
const inputPeak = 1 << 30

// goodFaces is how many pictures lie beside a hostile one.
const goodFaces = 3

// hostileInputs tries every verb that reads files of others on hostile ones.
func (a *attack) hostileInputs() {
	cases := a.inputCases()
	memory := ""
	if strings.Contains(pipe(a.t, "ingest", "--help").stdout, "--memory") {
		memory = " --memory 512MiB"
	}
	begun := time.Now()
	pipe(a.t, "version")
	limit := patience + 100*time.Since(begun)
	var jobs []func()
	for i, c := range cases {
		if !a.full && (c.full || i%5 > 0) {
			continue
		}
		jobs = append(jobs, func() {
			dir := filepath.Join(storetest.MemoryDir(a.t), "inputs")
			if err := errors.Join(os.MkdirAll(filepath.Join(dir, "in"), 0o755), c.prepare(dir)); err != nil {
				a.t.Errorf("%s: %v", c.name, err)
				return
			}
			text := c.line
			if strings.HasPrefix(text, "ingest") {
				text += memory
			}
			most := limit
			if c.full { // there is much to read
				most *= 10
			}
			h := strike(a.t, filepath.Join(dir, "in"), most, nil, append(strings.Fields(text), "--json")...)
			verdict, why := c.judge(dir, h)
			if leftOutside(dir) {
				verdict, why = strayed, "something lies beside the inputs"
			}
			a.note("hostile "+c.kind, fmt.Sprintf("%s %s (%s)", strings.Fields(c.line)[0], c.name, c.what), verdict, h, fmt.Sprintf("pipe %s\n%s\n%s", text, why, h.excerpt()))
			_ = os.RemoveAll(dir)
		})
	}
	each(jobs)
}

// leftOutside is whether there is something beside the folder of inputs that nobody asked for.
func leftOutside(dir string) bool {
	for _, d := range []string{dir, filepath.Dir(dir)} {
		entries, err := os.ReadDir(d)
		for _, e := range entries {
			if e.Name() != "in" && e.Name() != "inputs" && e.Name() != "letter" {
				return true
			}
		}
		if err != nil {
			return true
		}
	}
	text, err := os.ReadFile(filepath.Join(dir, "letter"))
	return err != nil || string(text) != letter
}

// prepare makes the input and what is good beside it.
func (c hostile) prepare(dir string) error {
	in := filepath.Join(dir, "in")
	if err := os.WriteFile(filepath.Join(dir, "letter"), []byte(letter), 0o644); err != nil {
		return err
	}
	if c.good > 0 {
		for i := range c.good {
			path := filepath.Join(in, "src", "ann", fmt.Sprintf("good%d.png", i))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, face(i), 0o644)); err != nil {
				return err
			}
		}
	}
	return c.make(in)
}

// face is a picture that is taken.
func face(i int) []byte {
	img, _ := synthface.New(3).Aligned(0, i, synthface.DefaultHard)
	return imgcodec.EncodePNG(img)
}

// obeyed are characters that a terminal does not show but obeys.
var obeyed = regexp.MustCompile(`[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}\x{202a}-\x{202e}]`)

func (c hostile) judge(dir string, h hit) (verdict, string) {
	switch {
	case h.hung:
		return hung, ""
	case h.crashed():
		return crashed, ""
	case h.peak > inputPeak:
		return swollen, ""
	case obeyed.MatchString(h.stdout + h.stderr):
		return strayed, "a terminal obeys what it printed"
	}
	says := h.says(append(c.says, c.name))
	if h.code == exitDone || h.code == exitRejects {
		var summary struct{ Written, Skipped, Rejected int }
		switch err := json.Unmarshal([]byte(h.stdout), &summary); {
		case err != nil:
			return lost, "stdout is not one JSON object"
		case summary.Written < c.good:
			return lost, fmt.Sprintf("%d of %d good ones were taken", summary.Written, c.good)
		case strings.HasPrefix(c.line, "ingest") && summary.Written+summary.Rejected == 0 && !says:
			return lost, "nothing was taken, and nothing refused"
		}
		return unharmed, ""
	}
	if says {
		return named, ""
	}
	return unnamed, ""
}

// pngOf is a PNG file that says it has a size, with chunks as they are given.
func pngOf(w, h uint32, depth byte, chunks ...[]byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32([]byte("IHDR"), w), h)
	out := append([]byte("\x89PNG\r\n\x1a\n"), chunk(append(head, depth, 2, 0, 0, 0))...)
	for _, c := range chunks {
		out = append(out, chunk(c)...)
	}
	return append(out, chunk([]byte("IEND"))...)
}

func chunk(data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)-4))
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(data))
}

// zeros are n zeros behind a compressor.
func deflated(n int64) []byte {
	var b bytes.Buffer
	w, _ := zlib.NewWriterLevel(&b, zlib.BestSpeed)
	copyZeros(w, n)
	_ = w.Close() // to memory
	return b.Bytes()
}

func copyZeros(w io.Writer, n int64) {
	block := make([]byte, 1<<20)
	for ; n > 0; n -= int64(len(block)) {
		_, _ = w.Write(block[:min(n, int64(len(block)))]) // to memory
	}
}

// tarOf is an archive of faces with what a function adds between them.
func tarOf(add func(w *tar.Writer)) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range goodFaces {
		if i == 1 {
			add(w)
		}
		data := face(i)
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("ann/g%d.png", i), Mode: 0o644, Size: int64(len(data))}) // to memory
		_, _ = w.Write(data)
	}
	_ = w.Close()
	return b.Bytes()
}

func tarMember(h tar.Header, data []byte) func(*tar.Writer) {
	return func(w *tar.Writer) {
		if h.Typeflag == 0 || h.Typeflag == tar.TypeReg {
			h.Size = int64(len(data))
		}
		h.Mode = 0o644
		_ = w.WriteHeader(&h) // to memory
		_, _ = w.Write(data)
	}
}

func gzipped(data []byte) []byte {
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	_, _ = w.Write(data) // to memory
	_ = w.Close()
	return b.Bytes()
}

// file makes one input file.
func file(name string, data []byte) func(dir string) error {
	return func(dir string) error {
		path := filepath.Join(dir, name)
		return errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644))
	}
}

// special makes what is no file: a pipe, a device, a folder, a file without an end.
func special(name string) map[string]func(dir string) error {
	at := func(dir string) string {
		path := filepath.Join(dir, name)
		_ = os.MkdirAll(filepath.Dir(path), 0o755) // what follows tells
		return path
	}
	return map[string]func(dir string) error{
		"a named pipe":     func(dir string) error { return syscall.Mkfifo(at(dir), 0o644) },
		"/dev/zero":        func(dir string) error { return os.Symlink("/dev/zero", at(dir)) },
		"a folder":         func(dir string) error { return os.MkdirAll(at(dir), 0o755) },
		"a link to itself": func(dir string) error { return os.Symlink(filepath.Base(name), at(dir)) },
		"empty":            func(dir string) error { return os.WriteFile(at(dir), nil, 0o644) },
		"1 TiB of nothing": func(dir string) error {
			return errors.Join(os.WriteFile(at(dir), nil, 0o644), os.Truncate(at(dir), 1<<40))
		},
		"64 KiB of 0xff":     func(dir string) error { return os.WriteFile(at(dir), bytes.Repeat([]byte{0xff}, 1<<16), 0o644) },
		"64 KiB of brackets": func(dir string) error { return os.WriteFile(at(dir), bytes.Repeat([]byte{'['}, 1<<16), 0o644) },
	}
}

// inputCases are all hostile inputs.
func (a *attack) inputCases() (all []hostile) {
	all = append(all, imageCases()...)
	all = append(all, archiveCases()...)
	all = append(all, containerCases()...)
	all = append(all, a.textCases()...)
	return append(all, a.modelCases()...)
}

// imageCases lie in a folder of photographs.
func imageCases() (all []hostile) {
	const ingest = "ingest --source folder=src --out out.ds --max-reject-rate 1"
	add := func(name string, make func(string) error) *hostile {
		all = append(all, hostile{kind: "photographs", name: filepath.Base(name), line: ingest, make: make, good: goodFaces})
		return &all[len(all)-1]
	}
	image := func(name string, data []byte) *hostile { return add(name, file("src/bob/"+name, data)) }
	image("wide.png", pngOf(1<<31-1, 1<<31-1, 8, append([]byte("IDAT"), deflated(1<<16)...)))
	image("tall.png", pngOf(1, 1<<30, 16, append([]byte("IDAT"), deflated(1<<16)...)))
	image("text-bomb.png", pngOf(112, 112, 8, append([]byte("zTXtc\x00\x00"), deflated(256<<20)...), append([]byte("IDAT"), deflated(112*337)...)))
	image("profile-bomb.png", pngOf(112, 112, 8, append([]byte("iCCPc\x00\x00"), deflated(256<<20)...), append([]byte("IDAT"), deflated(112*337)...)))
	image("too-much.png", pngOf(112, 112, 8, append([]byte("IDAT"), deflated(256<<20)...)))
	jpeg := imgcodec.EncodeJPEG(faceImage(), 90)
	image("half.jpg", jpeg[:len(jpeg)/2])
	image("header.jpg", jpeg[:20])
	image("claims.jpg", claimed(jpeg))
	image("claims.webp", []byte("RIFF\xff\xff\xff\x7fWEBPVP8X\x0a\x00\x00\x00\x10\x00\x00\x00\xff\xff\xff\xff\xff\xff"))
	image("claims.bmp", append([]byte("BM\xff\xff\xff\x7f\x00\x00\x00\x00\x36\x00\x00\x00\x28\x00\x00\x00\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\x00\x18\x00"), make([]byte, 100)...))
	image("claims.gif", []byte("GIF89a\xff\xff\xff\xff\xf7\x00\x00,\x00\x00\x00\x00\xff\xff\xff\xff\x00\x08\x01"))
	image("claims.tiff", []byte("II*\x00\x08\x00\x00\x00\xff\xff\x00\x01\x04\x00\x01\x00\x00\x00\xff\xff\xff\x7f"))
	image("\x1b[2Jclear\x07.png", []byte("no picture"))
	image("new\nline.png", []byte("no picture"))
	image("not-utf8-\xff\xfe.png", []byte("no picture"))
	image("\xe2\x80\xaegnp.exe.png", []byte("no picture"))
	image("c1-\xc2\x9b2J.png", []byte("no picture"))
	image("<img src=x onerror=alert(1)>.png", []byte("no picture"))
	image(strings.Repeat("n", 251)+".png", []byte("no picture"))
	image("--out=elsewhere.png", face(9))
	for _, what := range sortedFuncs(special("src/bob/strange.jpg")) {
		add("strange.jpg", special("src/bob/strange.jpg")[what]).what = what
	}
	sparse := func(n int) func(string) error {
		return func(dir string) error {
			var errs []error
			for i := range n {
				path := filepath.Join(dir, "src", "bob", fmt.Sprintf("sparse%d.jpg", i))
				errs = append(errs, file(fmt.Sprintf("src/bob/sparse%d.jpg", i), jpeg[:len(jpeg)-2])(dir), os.Truncate(path, 1<<30))
			}
			return errors.Join(errs...)
		}
	}
	add("sparse0.jpg", sparse(4))
	add("loop", func(dir string) error {
		return errors.Join(os.MkdirAll(filepath.Join(dir, "src/bob"), 0o755), os.Symlink("..", filepath.Join(dir, "src/bob/loop")))
	})
	add("deep", func(dir string) error {
		return os.MkdirAll(filepath.Join(dir, "src", strings.Repeat("d/", 1000)), 0o755)
	})
	add("huge0.png", func(dir string) error {
		data := pngOf(9990, 9990, 16, append([]byte("IDAT"), deflated(9990*(9990*6+1))...))
		var errs []error
		for i := range 3 {
			errs = append(errs, file(fmt.Sprintf("src/bob/huge%d.png", i), append(data[:len(data):len(data)], byte(i)))(dir))
		}
		return errors.Join(errs...)
	}).full = true
	return all
}

func faceImage() *imgcodec.Image {
	img, _ := synthface.New(3).Aligned(1, 0, synthface.DefaultHard)
	return img
}

// claimed is a JPEG file whose header says 65500 x 65500 pixels.
func claimed(jpeg []byte) []byte {
	out := bytes.Clone(jpeg)
	if i := bytes.Index(out, []byte{0xff, 0xc0}); i >= 0 {
		copy(out[i+5:], []byte{0xff, 0xdc, 0xff, 0xdc})
	}
	return out
}

func sortedFuncs(m map[string]func(string) error) []string {
	names := map[string]string{}
	for name := range m {
		names[name] = ""
	}
	return sortedKeys(names)
}

// archiveCases are tar files.
func archiveCases() (all []hostile) {
	add := func(name string, data []byte) *hostile {
		all = append(all, hostile{kind: "archives", name: name, line: "ingest --source webdataset=" + name + " --out out.ds --max-reject-rate 1",
			make: file(name, data), good: goodFaces})
		return &all[len(all)-1]
	}
	member := func(name string, h tar.Header, data []byte) *hostile {
		return add(name, tarOf(tarMember(h, data)))
	}
	member("climbs.tar", tar.Header{Name: "../../letter"}, face(8))
	member("absolute.tar", tar.Header{Name: "/tmp/letter.png"}, face(8))
	member("link.tar", tar.Header{Name: "ann/l.png", Typeflag: tar.TypeSymlink, Linkname: "../../letter"}, nil)
	member("hardlink.tar", tar.Header{Name: "ann/h.png", Typeflag: tar.TypeLink, Linkname: "/etc/passwd"}, nil)
	member("device.tar", tar.Header{Name: "ann/d.png", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 5}, nil)
	member("pipe.tar", tar.Header{Name: "ann/p.png", Typeflag: tar.TypeFifo}, nil)
	member("escape.tar", tar.Header{Name: "ann/\x1b[2J.png"}, []byte("no picture"))
	member("deep-json.tar", tar.Header{Name: "ann/g0.json"}, bytes.Repeat([]byte(`{"a":`), 1<<20)).good = goodFaces - 1 // it is the first one's label
	member("big-label.tar", tar.Header{Name: "ann/g9.cls"}, bytes.Repeat([]byte("9"), 1<<20))
	member("long-name.tar", tar.Header{Name: "ann/" + strings.Repeat("n", 1<<16) + ".png"}, []byte("no picture"))
	whole := tarOf(func(*tar.Writer) {})
	add("cut.tar", whole[:len(whole)-3000]).good = goodFaces - 1
	claims := bytes.Clone(whole)
	copy(claims[124:136], "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff") // the first member's size
	add("claims.tar", claims).good = 0
	minus := bytes.Clone(whole)
	copy(minus[124:136], "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00")
	add("minus.tar", minus).good = 0
	add("twice.tar.gz", gzipped(gzipped(whole))).good = 0
	bomb := add("bomb.tar.gz", nil)
	bomb.make = func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "bomb.tar.gz"), bombOf(1, 256<<20), 0o644)
	}
	large := add("bombs.tar.gz", nil)
	large.full, large.make = true, func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "bombs.tar.gz"), bombOf(3, 1<<30), 0o644)
	}
	encoder, _ := zstd.NewWriter(nil, zstd.WithWindowSize(zstd.MaxWindowSize))
	add("window.tar.zst", encoder.EncodeAll(tarOf(tarMember(tar.Header{Name: "ann/z.png"}, make([]byte, 64<<20))), nil))
	add("frame.tar.zst", []byte("\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\x7f\x01\x00\x00")).good = 0
	members := add("members.tar", nil)
	members.full = true
	members.make = func(dir string) error {
		return os.WriteFile(filepath.Join(dir, "members.tar"), tarOf(func(w *tar.Writer) {
			for i := range 600_000 {
				_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("m/%d.json", i)}) // to memory
			}
		}), 0o644)
	}
	members.good = 0
	for _, name := range []string{"strange.tar", "strange.tar.gz"} {
		for _, what := range sortedFuncs(special(name)) {
			s := add(name, nil)
			s.make, s.good, s.what = special(name)[what], 0, what
		}
	}
	return all
}

// bombOf is an archive with members of zeros.
func bombOf(n int, size int64) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	w := tar.NewWriter(z)
	for i := range goodFaces {
		data := face(i)
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("ann/g%d.png", i), Mode: 0o644, Size: int64(len(data))}) // to memory
		_, _ = w.Write(data)
	}
	for i := range n {
		_ = w.WriteHeader(&tar.Header{Name: fmt.Sprintf("ann/z%d.png", i), Mode: 0o644, Size: size})
		copyZeros(w, size)
	}
	_ = w.Close()
	_ = z.Close()
	return b.Bytes()
}

// containerCases are RecordIO files and pickles.
func containerCases() (all []hostile) {
	add := func(kind, name string, data []byte) {
		all = append(all, hostile{kind: "records and pickles", name: name, line: "ingest --source " + kind + "=" + name + " --out out.ds --max-reject-rate 1", make: file(name, data)})
	}
	word := func(v ...uint32) (b []byte) {
		for _, w := range v {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
		return b
	}
	const magic = 0xced7230a
	add("recordio", "claims.rec", append(word(magic, 1<<29-1, 0), make([]byte, 64)...))
	add("recordio", "labels.rec", append(word(magic, 40, 0xffffffff), make([]byte, 64)...))
	add("recordio", "parts.rec", bytes.Repeat(word(magic, 2<<29|4, 7), 1<<16))
	add("recordio", "begins.rec", bytes.Repeat(word(magic, 1<<29|4, 7), 1<<16))
	for name, data := range map[string][]byte{
		"system.bin":  []byte("cos\nsystem\n(S'touch ../pwned'\ntR."),
		"long.bin":    append([]byte("\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x3f"), make([]byte, 100)...),
		"text.bin":    append([]byte("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"), make([]byte, 100)...),
		"number.bin":  append([]byte("\x80\x02\x8b\xff\xff\xff\x7f"), make([]byte, 100)...),
		"frame.bin":   []byte("\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f."),
		"deep.bin":    bytes.Repeat([]byte("("), 1<<20),
		"lists.bin":   append(bytes.Repeat([]byte("]"), 1<<20), '.'),
		"memo.bin":    append([]byte("\x80\x02]r\xff\xff\xff\xff"), '.'),
		"laughs.bin":  append([]byte("\x80\x02]q\x00"), append(bytes.Repeat([]byte("h\x00h\x00h\x00\x87q\x00"), 64), '.')...),
		"halting.bin": bytes.Repeat([]byte("0"), 1<<16),
	} {
		add("bin", name, data)
	}
	for kind, name := range map[string]string{"recordio": "strange.rec", "bin": "strange.bin"} {
		for _, what := range sortedFuncs(special(name)) {
			all = append(all, hostile{kind: "records and pickles", name: name, what: what, make: special(name)[what],
				line: "ingest --source " + kind + "=" + name + " --out out.ds --max-reject-rate 1"})
		}
	}
	return all
}

// textCases are tables, lists and settings.
func (a *attack) textCases() (all []hostile) {
	world := func(make func(string) error, needs ...string) func(string) error {
		return func(dir string) error {
			for _, name := range needs {
				if err := copyPath(filepath.Join(a.ground.base, name), filepath.Join(dir, name)); err != nil {
					return err
				}
			}
			return make(dir)
		}
	}
	const train = "distill faces.ds --teacher tiny --loss cosine --epochs 1 --out run " + trainTiny
	readers := map[string]struct {
		line  string
		needs []string
	}{
		"faces.csv":        {"ingest --source manifest=faces.csv --out out.ds --max-reject-rate 1", nil},
		"landmarks.txt":    {"ingest --source folder=photos --landmarks landmarks.txt --out out.ds --max-reject-rate 1", []string{"photos"}},
		"pairs.txt":        {"eval --model tiny.onnx --dataset faces.ds --pairs pairs.txt --out out", []string{"faces.ds", "tiny.onnx"}},
		"config.yaml":      {train + " --config config.yaml", []string{"faces.ds"}},
		"init.safetensors": {train + " --init init.safetensors", []string{"faces.ds"}},
		"matrix.npy":       {"teachers classifier faces.ds tiny --replace --from matrix.npy --prefix person_", []string{"faces.ds"}},
		"own.npy":          {"eval --embeddings own.npy --dataset faces.ds --pairs pairs.txt --out out", []string{"faces.ds", "pairs.txt"}},
		"own.csv":          {"eval --embeddings own.csv --dataset faces.ds --pairs pairs.txt --out out", []string{"faces.ds", "pairs.txt"}},
		"test.bin":         {"eval --model tiny.onnx --bin test.bin --out out", []string{"tiny.onnx"}},
		"study.yaml":       {"compare study.yaml --out study --dry-run", []string{"faces.ds"}},
	}
	add := func(name, what string, make func(string) error) {
		r := readers[name]
		all = append(all, hostile{kind: "tables and settings", name: name, what: what, line: r.line, make: world(make, r.needs...)})
	}
	for name := range readers {
		for _, what := range sortedFuncs(special(name)) {
			add(name, what, special(name)[what])
		}
	}
	text := func(name, what, text string) { add(name, what, file(name, []byte(text))) }
	text("faces.csv", "NUL", "path,identity\nphotos/a.png,\x00\x00\n")
	text("faces.csv", "an open quote", "path,identity\n\"photos/a.png,x\n"+strings.Repeat("y\n", 1<<18))
	text("faces.csv", "paths that climb", "path,identity\n../letter,x\n/etc/passwd,y\n../../../../../dev/zero,z\n")
	text("faces.csv", "numbers without end", "path,identity,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\na.png,a,"+strings.Repeat("1e308,", 9)+"NaN\n")
	text("faces.csv", "a long line", "path,identity\n"+strings.Repeat("x", 64<<20)+",y\n")
	text("landmarks.txt", "infinite", "person_00/00.png"+strings.Repeat("\t1e308", 9)+"\tInf\n")
	text("landmarks.txt", "a long line", strings.Repeat("x", 64<<20))
	text("pairs.txt", "a huge count", "999999999999 999999999999\n")
	text("pairs.txt", "an escape", "\x1b[2J 1 2\n")
	text("config.yaml", "aliases", "a: &a [x,x,x,x,x,x,x,x,x]\n"+aliases())
	text("config.yaml", "deep", strings.Repeat("a: {", 1<<16))
	text("config.yaml", "an escape", "\"\\e[2J\": 1\n")
	for _, setting := range []string{"batch: 1000000000000", "batch: 9223372036854775807", "epochs: 9223372036854775807", "size: {width: 1e9}", "size: {dim: 1000000000}",
		"accumulate: 1000000000000", "warmup_epochs: 1e300", "loss: {name: unified, rpsd: {bank: 1000000000000}}"} {
		small := "" // flags go before the file, so that none may be given
		for _, other := range []string{"epochs: 1", "batch: 6"} {
			if !strings.HasPrefix(setting, other[:5]) {
				small += other + "\n"
			}
		}
		all = append(all, hostile{kind: "tables and settings", name: "config.yaml", what: setting, says: strings.FieldsFunc(setting, func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') }),
			line: "distill faces.ds --teacher tiny --out run --config config.yaml --threads 1", make: world(file("config.yaml", []byte(small+setting+"\n")), "faces.ds")})
	}
	text("init.safetensors", "a header without end", "\xff\xff\xff\xff\xff\xff\xff\x0f{}")
	text("init.safetensors", "a tensor without end", safetensorsOf(`{"w":{"dtype":"F32","shape":[1152921504606846976,16],"data_offsets":[0,9223372036854775807]}}`))
	for _, name := range []string{"matrix.npy", "own.npy"} {
		text(name, "a shape without end", string(npy.AppendHeader(nil, npy.Float16, 1<<40, 192)))
		text(name, "a product that wraps", string(npy.AppendHeader(nil, npy.Float16, 1<<32, 1<<32)))
		text(name, "objects", "\x93NUMPY\x01\x00\x76\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }"+strings.Repeat(" ", 60)+"\ncos\nsystem\n(S'touch ../pwned'\ntR.")
		text(name, "a header without end", "\x93NUMPY\x02\x00\xff\xff\xff\x7f{")
	}
	text("own.csv", "a long line", "key"+strings.Repeat(",1", 32<<20))
	text("study.yaml", "many rows", "dataset: faces.ds\nbase: {teacher: tiny}\nbudget: {epochs: 1}\naxes: {seed: ["+strings.TrimSuffix(strings.Repeat("1,", 1<<16), ",")+"]}\n")
	return all
}

// aliases are YAML that grows without end when its aliases are followed.
func aliases() string {
	var b strings.Builder
	for c := 'b'; c < 'j'; c++ {
		fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c,", c-1), 9), ","))
	}
	return b.String()
}

func safetensorsOf(header string) string {
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header
}

// modelCases are ONNX files.
func (a *attack) modelCases() (all []hostile) {
	whole, err := os.ReadFile(filepath.Join(a.ground.base, "tiny.onnx"))
	if err != nil {
		a.t.Fatal(err)
	}
	add := func(what string, make func(string) error) {
		for _, line := range []string{
			"precompute-teacher faces.ds --teacher model.onnx --name new",
			"ingest --source folder=photos --detector scrfd=model.onnx --out out.ds --max-reject-rate 1",
			"doctor --model model.onnx",
		} {
			all = append(all, hostile{kind: "models", name: "model.onnx", what: what, line: line, make: func(dir string) error {
				return errors.Join(copyPath(filepath.Join(a.ground.base, "faces.ds"), filepath.Join(dir, "faces.ds")),
					copyPath(filepath.Join(a.ground.base, "photos"), filepath.Join(dir, "photos")), make(dir))
			}})
		}
	}
	for _, what := range sortedFuncs(special("model.onnx")) {
		add(what, special("model.onnx")[what])
	}
	add("a length without end", file("model.onnx", []byte("\x08\x07\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x0a")))
	add("half", file("model.onnx", whole[:len(whole)/2]))
	for _, location := range []string{"../letter", "/etc/passwd", "/dev/zero", "weights"} {
		add("data at "+location, func(dir string) error {
			return errors.Join(file("model.onnx", externalModel(location))(dir), syscall.Mkfifo(filepath.Join(dir, "weights"), 0o644))
		})
	}
	return all
}

// externalModel is a model whose weight lies in another file: protobuf, field by field.
func externalModel(location string) []byte {
	field := func(n byte, data []byte) []byte {
		return append(binary.AppendUvarint([]byte{n<<3 | 2}, uint64(len(data))), data...)
	}
	entry := func(key, value string) []byte {
		return field(13, append(field(1, []byte(key)), field(2, []byte(value))...))
	}
	tensor := append([]byte{1 << 3, 0x80, 0x80, 0x80, 0x80, 0x04, 2 << 3, 1}, field(8, []byte("w"))...) // 2^30 float32
	tensor = append(tensor, entry("location", location)...)
	tensor = append(tensor, 14<<3, 1)
	dim := func(n byte) []byte { return field(1, []byte{1 << 3, n}) }
	info := func(name string, dims ...byte) []byte {
		var shape []byte
		for _, d := range dims {
			shape = append(shape, dim(d)...)
		}
		kind := field(1, append([]byte{1 << 3, 1}, field(2, shape)...))
		return append(field(1, []byte(name)), field(2, kind)...)
	}
	node := append(append(append(field(1, []byte("input")), field(1, []byte("w"))...), field(2, []byte("embedding"))...), field(4, []byte("Add"))...)
	graph := append(append(append(append(field(1, node), field(2, []byte("g"))...), field(5, tensor)...), field(11, info("input", 1, 3, 112, 112))...), field(12, info("embedding", 1, 64))...)
	model := append([]byte{1 << 3, 7}, field(7, graph)...)
	return append(model, field(8, append(field(1, nil), 2<<3, 13))...)
}
