package pairlist

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"facepipe/internal/alloctest"
)

// written is a pair with its images spelled out, for comparison.
type written struct {
	a, b string
	same bool
}

func spellOut(l *List) []written {
	var out []written
	for _, p := range l.Pairs {
		out = append(out, written{l.Images[p.A].String(), l.Images[p.B].String(), p.Same})
	}
	return out
}

func mustParse(t *testing.T, text string) *List {
	t.Helper()
	l, err := Parse(strings.NewReader(text), "list.txt")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestParse(t *testing.T) {
	lfw := []written{
		{"Ann/Ann_0001", "Ann/Ann_0004", true}, {"Ann/Ann_0001", "Bob/Bob_0002", false},
		{"Bob/Bob_0010", "Bob/Bob_12345", true}, {"Bob/Bob_0002", "Cyd/Cyd_0003", false},
	}
	tests := []struct {
		name, text string
		format     Format
		sets       int
		want       []written
	}{
		{"lfw", "2\t1\nAnn\t1\t4\nAnn\t1\tBob\t2\nBob\t10\t12345\nBob\t2\tCyd\t3\n", LFW, 2, lfw},
		{"lfw with spaces and without a last newline", "2 1\nAnn 1 4\nAnn 1 Bob 2\nBob 10 12345\nBob 2 Cyd 3", LFW, 2, lfw},
		{"lfw of Windows", "\ufeff2\t1\r\nAnn\t1\t4\r\nAnn\t1\tBob\t2\r\n\r\nBob\t10\t12345\r\nBob\t2\tCyd\t3\r\n", LFW, 2, lfw},
		{"lfw for development", "2\nAnn\t1\t4\nBob\t10\t12345\nAnn\t1\tBob\t2\nBob\t2\tCyd\t3\n", LFW, 1, []written{lfw[0], lfw[2], lfw[1], lfw[3]}},
		{"lfw, names with spaces", "1\t1\nAnn Lee\t1\t2\nAnn Lee\t1\tBob\t1\n", LFW, 1,
			[]written{{"Ann Lee/Ann Lee_0001", "Ann Lee/Ann Lee_0002", true}, {"Ann Lee/Ann Lee_0001", "Bob/Bob_0001", false}}},
		{"plain", "a.jpg b/c.png 1\n\n  a.jpg   d.bmp 0 \n", Plain, 0, []written{{"a.jpg", "b/c.png", true}, {"a.jpg", "d.bmp", false}}},
		{"plain with tabs", "my face.jpg\tyour face.jpg\t0\na b\ta b\t1\n", Plain, 0, []written{{"my face.jpg", "your face.jpg", false}, {"a b", "a b", true}}},
		{"plain, line by line", "a\tb b\t0\nc d 1\n", Plain, 0, []written{{"a", "b b", false}, {"c", "d", true}}},
		{"plain after empty lines", "\n\n1 2 1\n", Plain, 0, []written{{"1", "2", true}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := mustParse(t, tt.text)
			if l.Format != tt.format || l.Sets != tt.sets {
				t.Errorf("format %s with %d sets, want %s with %d", l.Format, l.Sets, tt.format, tt.sets)
			}
			if got := spellOut(l); !slices.Equal(got, tt.want) {
				t.Errorf("pairs %v, want %v", got, tt.want)
			}
		})
	}
}

func TestMalformedLinesAreNamed(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"empty file", "", "list.txt: it has no pairs"},
		{"only white space", " \n\t\n", "list.txt: it has no pairs"},
		{"words for a header", "hello world\n", "line 1: \"hello world\" is neither"},
		{"no sets", "0 300\n", "line 1: \"0 300\" is neither"},
		{"negative header", "-1\n", "line 1"},
		{"huge header", "99999999999999999999 1\n", "line 1"},
		{"header without pairs", "10\t300\n", "ends after 0 pairs, the header announces 6000"},
		{"label", "a b 1\na c 2\n", `line 2: last column: label "2" is neither 0 nor 1`},
		{"header of a table", "left\tright\tlabel\n", "list.txt: it has no pairs"},
		{"columns", "a b 1\n\na b c d 1\n", "line 3: 5 columns"},
		{"empty key", "a b 1\na\t\t1\n", "line 2: key is empty"},
		{"key that is not UTF-8", "a b 1\na \xff 1\n", "line 2: key \"\\xff\" is not valid UTF-8"},
		{"NUL", "a b\x00 1\n", "line 1: key \"b\\x00\" contains NUL"},
		{"long key", "a b 1\na " + strings.Repeat("b", store4096+1) + " 1\n", "line 2: key of 4097 bytes"},
		{"endless line", "a b 1\n" + strings.Repeat("b", 1<<20), "line 2: longer than 16384 bytes"},
		{"lfw columns", "1 1\nAnn 1\n", "line 2: 2 columns"},
		{"lfw number", "1 1\nAnn 1 x\n", `line 2: "x" is not a number`},
		{"lfw first number", "1 1\nAnn -1 2\n", `line 2: "-1" is not a number`},
		{"lfw other's number", "1 1\nAnn 1 Bob 1e3\n", `line 2: "1e3" is not a number`},
		{"lfw key", "1 1\n\x01\xfe 1 2\n", "not valid UTF-8"},
		{"lfw cut off", "1 2\nAnn 1 2\nBob 1 2\nAnn 1 Bob 1\n", "ends after 3 pairs, the header announces 4"},
		{"lfw too long", "1 1\nAnn 1 2\nAnn 1 Bob 1\nBob 1 2\n", "line 4: one pair more than the 2"},
		{"lfw unbalanced", "2 1\nAnn 1 2\nAnn 1 Bob 1\nBob 1 2\nCyd 1 2\n", "set 2 has 2 same pairs of 2, the header announces 1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse(strings.NewReader(tt.text), "list.txt")
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "list.txt") {
				t.Errorf("error %v, want one with %q that names the file", err, tt.want)
			}
		})
	}
}

// store4096 is what store.MaxKeyBytes is, spelled out: the figure is part of the
// format that users write.
const store4096 = 4096

func TestImagesAreKeptOnce(t *testing.T) {
	l := mustParse(t, "a b 1\nb a 1\nc a 0\nc c 1\n")
	if len(l.Images) != 3 {
		t.Errorf("%d images, want a, b, c", len(l.Images))
	}
	want := []Pair{{0, 1, true}, {1, 0, true}, {2, 0, false}, {2, 2, true}}
	if !slices.Equal(l.Pairs, want) {
		t.Errorf("pairs %v, want %v", l.Pairs, want)
	}
}

func TestKeys(t *testing.T) {
	l := mustParse(t, "1 1\nAnn 1 2\nAnn 1 Bob 17\n")
	want := []string{"Bob/Bob_0017.jpg", "Bob/Bob_0017.jpeg", "Bob/Bob_0017.png", "Bob/Bob_0017.webp", "Bob/Bob_0017.bmp"}
	if got := l.Images[2].Keys(); !slices.Equal(got, want) {
		t.Errorf("keys %v, want %v", got, want)
	}
	l = mustParse(t, "x/y.tif b 1\n")
	if got := l.Images[0].Keys(); !slices.Equal(got, []string{"x/y.tif"}) {
		t.Errorf("keys %v, want the key as written", got)
	}
}

func TestSets(t *testing.T) {
	l := mustParse(t, lfwText(3, 2))
	var got []int
	for i := range l.Pairs {
		got = append(got, l.Set(i))
	}
	if want := []int{0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2}; !slices.Equal(got, want) {
		t.Errorf("sets %v, want %v", got, want)
	}
}

// lfwText is a list in LFW's format.
func lfwText(sets, perKind int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\t%d\n", sets, perKind)
	for s := range sets {
		for k := range perKind {
			fmt.Fprintf(&b, "P%d\t%d\t%d\n", s, k+1, k+2)
		}
		for k := range perKind {
			fmt.Fprintf(&b, "P%d\t%d\tQ%d\t%d\n", s, k+1, s, k+1)
		}
	}
	return b.String()
}

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pairs.txt")
	text := lfwText(10, 3)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256([]byte(text)); l.Digest != hex.EncodeToString(sum[:]) {
		t.Errorf("digest %s is not the file's", l.Digest)
	}
	if len(l.Pairs) != 60 || l.Sets != 10 {
		t.Errorf("%d pairs in %d sets, want 60 in 10", len(l.Pairs), l.Sets)
	}
	if _, err := Read(path + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v for a missing file", err)
	}
	if _, err := Read(t.TempDir()); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "only if it is of CFP's protocol") {
		t.Errorf("error %v for a folder that is no list", err)
	}
}

func TestReadingErrorIsNotTheFormats(t *testing.T) {
	broken := errors.New("disk on fire")
	_, err := Parse(io.MultiReader(strings.NewReader("a b 1\n"), iotest.ErrReader(broken)), "list.txt")
	if !errors.Is(err, broken) || errors.Is(err, ErrFormat) {
		t.Errorf("error %v, want the reader's", err)
	}
}

// FuzzParse: whatever the bytes, a list is consistent or an ErrFormat, and what was
// parsed and written out again parses to the same pairs.
func FuzzParse(f *testing.F) {
	f.Add([]byte(lfwText(2, 2)))
	f.Add([]byte("a b 1\nc d 0\n"))
	f.Add([]byte("a a\tb b\t1\r\n\r\nc\td\t0"))
	f.Add([]byte("\ufeff1\nAnn 1 2\nAnn 1 Bob 2"))
	f.Add([]byte("99999999 99999999\nAnn 1 2\n"))
	f.Add([]byte("\ufeff\ufeffa b 1\n"))
	f.Add([]byte("a.jpg 1\nb.jpg 1\na.jpg 2\nb.jpg 2\nc 0\nd 0\nc 0\nd 0\n"))
	f.Add([]byte("file_x,file_y,Decision,fold\n\"a, b\",c,Yes,1\na,c,No,2\n"))
	f.Add([]byte("name,imagenum1,imagenum2,\nAnn,1,2,\nAnn,1,Bob,2\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var l *List
		var err error
		alloctest.AtMost(t, 1<<20+400*len(data), func() { l, err = Parse(strings.NewReader(string(data)), "list.txt") })
		if err != nil {
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "list.txt") {
				t.Fatalf("error %v", err)
			}
			return
		}
		if len(l.Pairs) == 0 {
			t.Fatal("a list without pairs")
		}
		seen := map[string]bool{}
		for _, i := range l.Images {
			if seen[i.String()] || len(i.Keys()) == 0 {
				t.Fatalf("image %q twice, or without keys", i)
			}
			seen[i.String()] = true
		}
		if l.Sets > 0 {
			for i := range l.Pairs {
				if set := l.Set(i); set < 0 || set >= l.Sets {
					t.Fatalf("pair %d in set %d of %d", i, set, l.Sets)
				}
			}
		}
		// Only a byte order mark on the first line is dropped, so this begins with
		// an empty one.
		again := new(strings.Builder)
		again.WriteString("\n")
		for _, p := range spellOut(l) {
			if strings.Contains(p.a+p.b, "\t") || p.a == "" || strings.HasSuffix(p.b, ",") || strings.HasSuffix(p.b, ";") {
				return // only a table's quotation marks can write it
			}
			fmt.Fprintf(again, "%s\t%s\t%d\n", p.a, p.b, map[bool]int{true: 1}[p.same])
		}
		if !slices.Equal(spellOut(mustParse(t, again.String())), spellOut(l)) {
			t.Fatalf("%q reads differently after %q", again.String(), data)
		}
	})
}

// The list that everybody's figures rest on: ten sets, each with 300 same pairs and
// then 300 different ones.
func TestRealLFW(t *testing.T) {
	dir := os.Getenv("PIPE_REAL_DATA")
	if dir == "" {
		t.Skip("PIPE_REAL_DATA is not set")
	}
	l, err := Read(filepath.Join(dir, "lfw", "pairs.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if l.Format != LFW || l.Sets != 10 || len(l.Pairs) != 6000 || len(l.Images) != 7701 {
		t.Fatalf("%s, %d sets, %d pairs, %d images; want lfw, 10, 6000, 7701", l.Format, l.Sets, len(l.Pairs), len(l.Images))
	}
	for i, p := range l.Pairs {
		if l.Set(i) != i/600 || p.Same != (i%600 < 300) {
			t.Fatalf("pair %d: set %d, same %v", i, l.Set(i), p.Same)
		}
	}
	for _, image := range l.Images {
		if _, err := os.Stat(filepath.Join(dir, "lfw", "images", image.Keys()[0])); err != nil {
			t.Fatal(err)
		}
	}
}
