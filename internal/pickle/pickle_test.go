package pickle_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"facepipe/internal/alloctest"
	"facepipe/internal/pickle"
	"facepipe/internal/pickle/pickletest"
)

func load(code string) (pickle.Value, error) {
	return pickle.Load(strings.NewReader(code), int64(len(code)))
}

// set reads a pickle as a verification set: its images and flags.
func set(code string) (images []string, same []bool, err error) {
	v, err := load(code)
	if err != nil {
		return nil, nil, err
	}
	pair, ok := v.(pickle.Tuple)
	if !ok || len(pair) != 2 {
		return nil, nil, fmt.Errorf("holds %s", pickle.Describe(v))
	}
	list, ok := pair[0].(*pickle.List)
	if !ok {
		return nil, nil, fmt.Errorf("images are %s", pickle.Describe(pair[0]))
	}
	file := strings.NewReader(code)
	for _, item := range list.Items {
		var data []byte
		switch item := item.(type) {
		case pickle.Bytes:
			data, err = item.Read(file)
		case *pickle.Array:
			data, err = item.Read(file)
		default:
			err = fmt.Errorf("image is %s", pickle.Describe(item))
		}
		if err != nil {
			return nil, nil, err
		}
		images = append(images, string(data))
	}
	switch flags := pair[1].(type) {
	case *pickle.List:
		for _, f := range flags.Items {
			b, ok := f.(bool)
			if !ok {
				return nil, nil, fmt.Errorf("flag is %s", pickle.Describe(f))
			}
			same = append(same, b)
		}
	case *pickle.Array:
		data, err := flags.Read(file)
		if err != nil || flags.Type != pickle.Bool {
			return nil, nil, fmt.Errorf("flags are %s: %w", pickle.Describe(flags), err)
		}
		for _, b := range data {
			same = append(same, b != 0)
		}
	}
	return images, same, nil
}

func TestWhatPythonWrote(t *testing.T) {
	for _, w := range written {
		images, same, err := set(w.pickle)
		if err != nil || fmt.Sprintf("%q", images) != fmt.Sprintf("%q", original) || fmt.Sprint(same) != "[true]" {
			t.Errorf("%s: %q, %v, %v", w.by, images, same, err)
		}
	}
}

func TestDialects(t *testing.T) {
	long := make([]byte, 70000) // longer than the window
	for i := range long {
		long[i] = byte(i * 31 >> 3)
	}
	images := [][]byte{long, []byte("\xff\xd8"), long[:300], []byte(`\x'`)}
	for _, d := range pickletest.Dialects() {
		code := string(d.Dump(images, []bool{true, false}))
		got, same, err := set(code)
		if err != nil || len(got) != len(images) || fmt.Sprint(same) != "[true false]" {
			t.Errorf("%s: %d images, %v, %v", d.Name, len(got), same, err)
			continue
		}
		for i := range images {
			if got[i] != string(images[i]) {
				t.Errorf("%s: image %d differs", d.Name, i)
			}
		}
	}
}

func TestBytesStayInTheFile(t *testing.T) {
	v, err := load("\x80\x03C\x02hi.")
	b, ok := v.(pickle.Bytes)
	if err != nil || !ok || !b.Contiguous() || b.Offset != 4 || b.Length != 2 {
		t.Errorf("%#v, %v", v, err)
	}
	if v, err := load("S'hi'\n."); err != nil || v.(pickle.Bytes).Contiguous() {
		t.Errorf("%#v, %v", v, err)
	}
}

func TestNumbers(t *testing.T) {
	tests := []struct {
		code string
		want pickle.Value
	}{
		{"N.", nil}, {"I00\n.", false}, {"I01\n.", true}, {"I1\n.", int64(1)}, {"I-70000\n.", int64(-70000)},
		{"L12L\n.", int64(12)}, {"K\xff.", int64(255)}, {"M\x01\x02.", int64(513)}, {"J\xfe\xff\xff\xff.", int64(-2)},
		{"\x8a\x00.", int64(0)}, {"\x8a\x01\xfd.", int64(-3)}, {"\x8a\x02\xff\x00.", int64(255)},
		{"\x8b\x08\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\x7f.", int64(1<<63 - 1)}, {"\x88.", true}, {"\x89.", false},
		{"K\x010K\x02.", int64(2)}, {"K\x01(K\x05K\x061.", int64(1)}, {"K\x07(0.", int64(7)}, {"K\x01q\x090h\x09.", int64(1)},
	}
	for _, tt := range tests {
		if v, err := load(tt.code); err != nil || v != tt.want {
			t.Errorf("%q: %v, %v, want %v", tt.code, v, err, tt.want)
		}
	}
}

// TestOneObjectTwice reads what Python writes for a list that has one object twice, and
// a list that holds itself.
func TestOneObjectTwice(t *testing.T) {
	images, _, err := set("\x80\x02]q\x00(U\x02hiq\x01h\x01e]\x86.")
	if err != nil || fmt.Sprint(images) != "[hi hi]" {
		t.Errorf("%q, %v", images, err)
	}
	v, err := load("]q\x00h\x00a.")
	if list, ok := v.(*pickle.List); err != nil || !ok || len(list.Items) != 1 || list.Items[0] != v {
		t.Errorf("a list that holds itself: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	reconstruct := "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
	u1 := "cnumpy\ndtype\n(U\x02u1K\x00K\x01tR"
	tests := []struct {
		name, code, want string
		kind             error
	}{
		{"os.system", "cos\nsystem\n(S'true'\ntR.", `byte 0: opcode GLOBAL: refused: global "os.system"`, pickle.ErrRefused},
		{"posix.system by STACK_GLOBAL", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", `"posix.system"`, pickle.ErrRefused},
		{"eval", "c__builtin__\neval\n(S'1'\ntR.", `"__builtin__.eval"`, pickle.ErrRefused},
		{"eval of Python 3", "\x80\x04\x8c\x08builtins\x8c\x04eval\x93.", `"builtins.eval"`, pickle.ErrRefused},
		{"a name with dots", "\x80\x04\x8c\x05numpy\x8c\x12ndarray.__reduce__\x93.", `"numpy.ndarray.__reduce__"`, pickle.ErrRefused},
		{"another part of numpy", "cnumpy.core.multiarray\nfromfile\n.", `"numpy.core.multiarray.fromfile"`, pickle.ErrRefused},
		{"a name that is split elsewhere", "cnumpy.core\nmultiarray.scalar.\n.", "global", pickle.ErrRefused},
		{"a global of odd bytes", "c\x1b[2J\n\xff\n.", `"\x1b[2J.\xff"`, pickle.ErrRefused},
		{"an endless name", "c" + strings.Repeat("a", 1000) + "\nb\n.", "1000 bytes", pickle.ErrMalformed},
		{"an endless stack name", "\x8d\xe8\x03\x00\x00\x00\x00\x00\x00" + strings.Repeat("a", 1000) + "\x8c\x01b\x93.", "1000 bytes", pickle.ErrRefused},
		{"a call of a call", reconstruct + ")R.", "call of a uint8 array", pickle.ErrRefused},
		{"a call of a number", "K\x01)R.", "call of an integer", pickle.ErrRefused},
		{"a call with a list", "cnumpy\ndtype\n]R.", "call with a list", pickle.ErrRefused},
		{"bytes of something", "c__builtin__\nbytes\n(K\x05tR.", "unusual arguments", pickle.ErrRefused},
		{"bytes of 2^40 zeros", "c__builtin__\nbytes\n(\x8a\x06\x00\x00\x00\x00\x00\x01tR.", "unusual arguments", pickle.ErrRefused},
		{"an array of another class", "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\ndtype\nK\x00\x85U\x01btR.", "unusual arguments", pickle.ErrRefused},
		{"the array type called", "cnumpy\nndarray\n(K\x01tR.", "unusual arguments", pickle.ErrRefused},
		{"another codec", "c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.", `text encoding "zip"`, pickle.ErrRefused},
		{"bytes encoded", "c_codecs\nencode\nU\x01aX\x06\x00\x00\x00latin1\x86R.", "unusual arguments", pickle.ErrRefused},
		{"a floating point array", "cnumpy\ndtype\n(U\x02f4K\x00K\x01tR.", `numpy dtype "f4"`, pickle.ErrRefused},
		{"an object array", "cnumpy\ndtype\n(U\x02O8K\x00K\x01tR.", `numpy dtype "O8"`, pickle.ErrRefused},
		{"a dtype with fields", u1 + "(K\x03U\x01|NU\x01aNtb.", "with parts", pickle.ErrRefused},
		{"a dtype with a short state", u1 + "(K\x03U\x01|tb.", "with parts", pickle.ErrRefused},
		{"BUILD of a list", "](K\x01tb.", "BUILD of a list", pickle.ErrRefused},
		{"BUILD from a dict", reconstruct + "}b.", "opcode EMPTY_DICT", pickle.ErrRefused},
		{"BUILD from a list", reconstruct + "]b.", "BUILD from a list", pickle.ErrRefused},
		{"BUILD of a function", "c__builtin__\nbytes\n(K\x01tb.", "BUILD of a function", pickle.ErrRefused},
		{"an array state of four", reconstruct + "(K\x01)" + u1 + "\x89tb.", "4 parts", pickle.ErrRefused},
		{"elements that are a text", reconstruct + "(K\x01K\x01\x85" + u1 + "\x89X\x01\x00\x00\x00atb.", "elements of an array are a text", pickle.ErrRefused},
		{"an array larger than its bytes", reconstruct + "(K\x01J\xff\xff\xff\x7f\x85" + u1 + "\x89U\x01atb.", "shape [2147483647], made of 1 bytes", pickle.ErrMalformed},
		{"an array smaller than its bytes", reconstruct + "(K\x01K\x01\x85" + u1 + "\x89U\x02abtb.", "shape [1], made of 2 bytes", pickle.ErrMalformed},
		{"a shape whose product overflows", reconstruct + "(K\x01(" + strings.Repeat("J\x00\x00\x00\x40", 4) + "t" + u1 + "\x89U\x00tb.", "made of 0 bytes", pickle.ErrMalformed},
		{"a negative axis", reconstruct + "(K\x01J\xff\xff\xff\xff\x85" + u1 + "\x89U\x01atb.", "axis", pickle.ErrMalformed},
		{"too many axes", reconstruct + "(K\x01(K\x01K\x01K\x01K\x01K\x01t" + u1 + "\x89U\x01atb.", "a tuple of 5", pickle.ErrMalformed},
		{"a scalar of two bytes", "cnumpy.core.multiarray\nscalar\n(" + u1 + "U\x02abtR.", "made of 2 bytes", pickle.ErrMalformed},
		{"an instance", "(ios\nsystem\n.", "opcode INST", pickle.ErrRefused},
		{"an object", "(cos\nsystem\no.", `"os.system"`, pickle.ErrRefused},
		{"NEWOBJ", "\x80\x02cnumpy\ndtype\n)\x81.", "opcode NEWOBJ", pickle.ErrRefused},
		{"a persistent id", "Pevil\n.", "opcode PERSID", pickle.ErrRefused},
		{"a binary persistent id", "K\x01Q.", "opcode BINPERSID", pickle.ErrRefused},
		{"the extension registry", "\x82\x01.", "opcode EXT1", pickle.ErrRefused},
		{"a float", "G\x00\x00\x00\x00\x00\x00\x00\x00.", "opcode BINFLOAT", pickle.ErrRefused},
		{"a buffer from outside", "\x80\x05\x97.", "opcode NEXT_BUFFER", pickle.ErrRefused},
		{"a later protocol", "\x80\x06N.", "protocol 6", pickle.ErrRefused},
		{"an integer of 2^31 bytes", "\x8b\xff\xff\xff\x7f.", "integer of 2147483647 bytes", pickle.ErrRefused},
		{"an integer of many digits", "I" + strings.Repeat("9", 100) + "\n.", "number", pickle.ErrMalformed},
		{"no opcode", "\xff", "no opcode 0xff", pickle.ErrMalformed},
		{"bytes beyond the file", "B\xff\xff\xff\xff.", "4294967295 bytes announced, 1 are left", pickle.ErrMalformed},
		{"bytes beyond all files", "\x8e\xff\xff\xff\xff\xff\xff\xff\xff.", "18446744073709551615 bytes announced", pickle.ErrMalformed},
		{"a frame beyond the file", "\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\xffN.", "announced", pickle.ErrMalformed},
		{"nothing", "", "ends in the middle", pickle.ErrMalformed},
		{"no value", ".", "leaves 0 values", pickle.ErrMalformed},
		{"two values", "NN.", "leaves 2 values", pickle.ErrMalformed},
		{"a mark", "N(.", "1 marks", pickle.ErrMalformed},
		{"more behind the end", "N.N.", "2 bytes behind its end", pickle.ErrMalformed},
		{"a tuple of too few", "K\x01\x86.", "too few values", pickle.ErrMalformed},
		{"below a mark", "K\x01(\x85.", "too few values", pickle.ErrMalformed},
		{"no mark", "K\x01t.", "no mark", pickle.ErrMalformed},
		{"an unknown memo", "h\x05.", "nothing under memo number 5", pickle.ErrMalformed},
		{"a negative memo", "Np-1\n.", "memo number -1", pickle.ErrMalformed},
		{"append to a tuple", ")K\x01a.", "append to a tuple", pickle.ErrRefused},
		{"append to nothing", "K\x01a.", "too few values", pickle.ErrMalformed},
	}
	for _, tt := range tests {
		_, err := load(tt.code)
		if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that wraps %v and says %q", tt.name, err, tt.kind, tt.want)
		}
	}
}

func TestReadingRefusals(t *testing.T) {
	tests := []struct{ name, code, want string }{
		{"no quotes", "Shi\n.", "without its quotes"},
		{"one quote", "S'\n.", "without its quotes"},
		{"mixed quotes", "S'hi\"\n.", "without its quotes"},
		{"a backslash at the end", "S'hi\\'\n.", "ends in a backslash"},
		{"an escape cut short", "S'\\x4'\n.", "cut short"},
		{"an escape of no digits", "S'\\xzz'\n.", `"zz"`},
		{"a wide character", "c_codecs\nencode\nX\x03\x00\x00\x00\xe2\x82\xacX\x06\x00\x00\x00latin1\x86R.", `'€'`},
		{"no UTF-8", "c_codecs\nencode\nX\x01\x00\x00\x00\xffX\x06\x00\x00\x00latin1\x86R.", "bytes as text"},
		{"a wide escape", "c_codecs\nencode\n(V\\u20ac\nVlatin1\ntR.", "U+20AC"},
		{"a text escape cut short", "c_codecs\nencode\n(V\\u20\nVlatin1\ntR.", "cut short"},
	}
	for _, tt := range tests {
		v, err := load(tt.code)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		_, err = v.(pickle.Bytes).Read(strings.NewReader(tt.code))
		if !errors.Is(err, pickle.ErrMalformed) || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v, want one that says %q", tt.name, err, tt.want)
		}
	}
	v, err := load("S'hi'\n.")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.(pickle.Bytes).Read(strings.NewReader("S'")); err == nil {
		t.Error("read bytes of a file that has become shorter")
	}
}

func TestEscapes(t *testing.T) {
	const code = "S'\\a\\b\\f\\n\\r\\t\\v\\\\\\'\\\"\\101\\1018\\q\\7\\xe9'\n."
	v, err := load(code)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.(pickle.Bytes).Read(strings.NewReader(code))
	if want := "\a\b\f\n\r\t\v\\'\"AA8\\q\a\xe9"; err != nil || string(got) != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
}

// TestBombs runs short programs for structures that are long, deep or wide.
func TestBombs(t *testing.T) {
	const many = pickle.MaxCells / 4
	tests := []struct {
		name, code string
		refused    bool
	}{
		{"tuples in tuples", ")" + strings.Repeat("\x85", many) + ".", false},
		{"lists in lists", strings.Repeat("]", many) + strings.Repeat("a", many-1) + ".", false},
		{"marks", strings.Repeat("(", many), true},
		{"values", strings.Repeat("N", 4*many+1), true},
		{"copies", "N" + strings.Repeat("2", 4*many+1), true},
		{"a memo of everything", "N" + strings.Repeat("\x94", 4*many+1), true},
		{"a memo far away", "Nr\xff\xff\xff\xff.", false},
		{"doubling tuples", ")" + strings.Repeat("2\x86", 64) + ".", false},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := load(tt.code)
		runtime.ReadMemStats(&after)
		if (err != nil) != tt.refused {
			t.Errorf("%s: %v", tt.name, err)
		}
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<30 {
			t.Errorf("%s: %d MiB allocated", tt.name, grown>>20)
		}
	}
}

// TestNoAllocationForAbsurdLengths announces much and has little.
func TestNoAllocationForAbsurdLengths(t *testing.T) {
	for _, code := range []string{
		"T\xff\xff\xff\x7f", "B\xff\xff\xff\xff", "\x8e\xff\xff\xff\xff\xff\xff\xff\x7f", "X\xff\xff\xff\xff", "\x8b\xff\xff\xff\x7f",
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := load(code)
		runtime.ReadMemStats(&after)
		if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
			t.Errorf("%q: %v, %d bytes allocated", code, err, after.TotalAlloc-before.TotalAlloc)
		}
	}
}

func TestTruncatedAnywhere(t *testing.T) {
	for _, w := range written {
		for n := range len(w.pickle) {
			if _, err := load(w.pickle[:n]); !errors.Is(err, pickle.ErrMalformed) {
				t.Fatalf("%s: of %d bytes the first %d gave %v", w.by, len(w.pickle), n, err)
			}
		}
	}
}

// TestFlippedBits wants an error or a set, and never an image beyond the file.
func TestFlippedBits(t *testing.T) {
	for _, w := range written {
		for i := range 8 * len(w.pickle) {
			code := []byte(w.pickle)
			code[i/8] ^= 1 << (i % 8)
			alloctest.AtMost(t, 512*len(code)+1<<20, func() { _, _ = pickle.Load(bytes.NewReader(code), int64(len(code))) })
			images, _, err := set(string(code))
			for _, image := range images {
				if err == nil && len(image) > len(code) {
					t.Fatalf("%s: bit %d: an image of %d bytes", w.by, i, len(image))
				}
			}
		}
	}
}

// failing is a file that cannot be read.
type failing struct{}

var errDisk = errors.New("disk on fire")

func (failing) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

func TestReadErrors(t *testing.T) {
	if _, err := pickle.Load(failing{}, 10); !errors.Is(err, errDisk) || errors.Is(err, pickle.ErrMalformed) {
		t.Errorf("error %v", err)
	}
	if _, err := pickle.Load(bytes.NewReader([]byte("N.")), 10); err == nil || !strings.Contains(err.Error(), "became shorter") {
		t.Errorf("error %v", err)
	}
}

func FuzzLoad(f *testing.F) {
	for _, w := range written {
		f.Add([]byte(w.pickle))
	}
	f.Add([]byte("cos\nsystem\n(S'true'\ntR."))
	f.Add([]byte("]q\x00h\x00a."))
	f.Fuzz(func(t *testing.T, code []byte) {
		alloctest.AtMost(t, 512*len(code)+1<<20, func() { _, _ = pickle.Load(bytes.NewReader(code), int64(len(code))) })
		images, _, err := set(string(code))
		if err != nil {
			return
		}
		for _, image := range images {
			if len(image) > len(code) {
				t.Fatalf("an image of %d bytes out of %d", len(image), len(code))
			}
		}
	})
}
