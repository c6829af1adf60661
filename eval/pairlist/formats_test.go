package pairlist

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	lfw := []written{{"Ann/Ann_0001", "Ann/Ann_0004", true}, {"Ann/Ann_0001", "Bob/Bob_0002", false}}
	plain := []written{{"a.jpg", "b.jpg", true}, {"a.jpg", "c.jpg", false}}
	tests := []struct {
		name, text string
		format     Format
		want       []written
		note       string // "" for none
	}{
		{"two lines", "a.jpg 1\nb.jpg 1\na.jpg 0\nc.jpg 0\n", TwoLines, plain, "two lines are read as a pair"},
		{"two lines of Windows", "\ufeffa.jpg\t1 \r\nb.jpg\t1\r\n\r\na.jpg\t0\r\nc.jpg\t0\r\n\r\n", TwoLines, plain, "two lines"},
		{"two lines with other labels", "a.jpg 7\nb.jpg 7\na.jpg 0\nc.jpg 0\n", TwoLines, plain, "labels above 0 are read as those of same pairs"},
		{"two lines with commas", "a.jpg,1\nb.jpg,1\na.jpg,0\nc.jpg,0\n", TwoLines, plain, "two lines"},
		{"two lines with spaces", "a b.jpg\t1\nb.jpg\t1\n", TwoLines, []written{{"a b.jpg", "b.jpg", true}}, "two lines"},
		{"lfw without header", "Ann\t1\t4\nAnn\t1\tBob\t2\n", BareLFW, lfw, "without its first line"},
		{"lfw of Kaggle", "name,imagenum1,imagenum2,\nAnn,1,4,\nAnn,1,Bob,2\n", BareLFW, lfw, ""},
		{"lfw of Kaggle, different ones", "name,imagenum1,name,imagenum2\nAnn,1,Bob,2\n", BareLFW, lfw[1:], ""},
		{"lfw of Kaggle, same ones", "name,imagenum1,imagenum2\r\nAnn,1,4\r\n", BareLFW, lfw[:1], ""},
		{"lfw with commas", "1,1\nAnn,1,4\nAnn,1,Bob,2\n", LFW, lfw, ""},
		{"lfw with commas to the end", "1,1,,\nAnn,1,4,\nAnn,1,Bob,2\n", LFW, lfw, ""},
		{"lfw with labels", "name1,imagenum1,name2,imagenum2,label\nAnn,1,Ann,4,1\nAnn,1,Bob,2,0\n", Table, lfw, ""},
		{"lfw with a comment", "# of LFW\n1\t1\nAnn\t1\t4\n# different\nAnn\t1\tBob\t2\n", LFW, lfw, ""},
		{"deepface", "file_x,file_y,Decision\na.jpg,b.jpg,Yes\na.jpg,c.jpg,No\n", Table, plain, "columns file_x and file_y"},
		{"table of pandas", ",img1,img2,is_same\n0,a.jpg,b.jpg,True\n1,a.jpg,c.jpg,False\n", Table, plain, "is_same as the label"},
		{"table with blanks", "left right match\na.jpg b.jpg 1\na.jpg c.jpg 0\n", Table, plain, "left and right"},
		{"table with tabs", "image1\timage2\tlabel\na.jpg\tb.jpg\t1\na.jpg\tc.jpg\t0\n", Table, plain, "image1"},
		{"table of Excel", "Pfad A;Pfad B;same\n\"a.jpg\";\"b.jpg\";1\n\"a.jpg\";\"c.jpg\";0\n", Table, plain, "Pfad A and Pfad B"},
		{"columns that do not matter", "pair_id,id1,id2,is_same,image_a,image_b,image_a_path,image_b_path\n0,7,7,1,a.jpg,b.jpg,x/a.jpg,x/b.jpg\n1,7,8,0,a.jpg,c.jpg,x/a.jpg,x/c.jpg\n",
			Table, plain, "columns image_a and image_b"},
		{"plain with commas", "a.jpg,b.jpg,1\na.jpg,c.jpg,0\n", Plain, plain, ""},
		{"plain with commas and blanks", "a.jpg, b.jpg, 1\na.jpg, c.jpg, 0\n", Plain, plain, ""},
		{"plain with quotation marks", "\"a, x.jpg\",\"b.jpg\",\"1\"\n", Plain, []written{{"a, x.jpg", "b.jpg", true}}, ""},
		{"plain with commas in names", "a,b.jpg c,d.jpg 1\n", Plain, []written{{"a,b.jpg", "c,d.jpg", true}}, ""},
		{"plain with a name of blanks", "my face.jpg,b.jpg, 1\n", Plain, []written{{"my face.jpg", "b.jpg", true}}, ""},
		{"plain with words", "a.jpg b.jpg same\na.jpg c.jpg different\n", Plain, plain, ""},
		{"plain, names like columns", "img1.jpg img2.jpg match\n", Plain, []written{{"img1.jpg", "img2.jpg", true}}, ""},
		{"plain with -1", "a.jpg b.jpg 1\na.jpg c.jpg -1\n", Plain, plain, ""},
		{"plain, label first", "1 a.jpg b.jpg\n0 a.jpg c.jpg\n", Plain, plain, "first column is read as the label"},
		{"plain with comments", "# a b\na.jpg b.jpg 1\n#\na.jpg c.jpg 0\n", Plain, plain, ""},
		{"plain names that begin with #", "#a.jpg b.jpg 1\n", Plain, []written{{"#a.jpg", "b.jpg", true}}, ""},
		{"numbers for keys", "1 2 1\n1 3 0\n", Plain, []written{{"1", "2", true}, {"1", "3", false}}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := mustParse(t, tt.text)
			if got := spellOut(l); l.Format != tt.format || !slices.Equal(got, tt.want) {
				t.Errorf("format %s, pairs %v, want %s, %v", l.Format, got, tt.format, tt.want)
			}
			if notes := strings.Join(l.Notes, "\n"); !strings.Contains(notes, tt.note) || (notes == "") != (tt.note == "") {
				t.Errorf("notes %q, want %q", notes, tt.note)
			}
		})
	}
}

func TestContradictionsAreErrors(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"odd number of lines", "a.jpg 1\nb.jpg 1\nc.jpg 0\n", "odd number of lines, and two are a pair: c.jpg"},
		{"two labels in a pair", "a.jpg 1\nb.jpg 1\na.jpg 0\nc.jpg 1\n", "line 4: label 1, but the pair's first line has 0"},
		{"photographs and persons", "a 0\nb 0\nc 1\nd 1\ne 2\nf 2\n", "lists no pairs"},
		{"too few different pairs", "a 1\nb 1\nc 2\nd 2\ne 0\nf 0\n", "lists no pairs"},
		{"label against names", "name1,imagenum1,name2,imagenum2,label\nAnn,1,Bob,2,1\n", "line 2: the label 1 contradicts the names Ann and Bob"},
		{"table without a label", "file1,file2\na.jpg,b.jpg\n", "line 1: no column says"},
		{"table that changes", "file1,file2,label\na.jpg,b.jpg,1\na.jpg,1\n", "line 3: 2 columns, the first line names 3"},
		{"table's label", "file1,file2,label\na.jpg,b.jpg,1\na.jpg,b.jpg,maybe\n", `line 3: label "maybe"`},
		{"labels of two kinds", "a b 1\na c 0\na d -1\n", `line 3: last column: label "-1", but "0" before it`},
		{"pickle", "\x80\x02]q\x00", "--pairs-out"},
		{"array", "\x93NUMPY\x01\x00v\x00", "names no images"},
		{"UTF-16", "\xff\xfea\x00 \x00", "save it as UTF-8"},
		{"zip", "PK\x03\x04", "unpack it"},
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

// A list that could be two formats for long is read as the one that it is in the end.
func TestFormatIsKnownLate(t *testing.T) {
	l := mustParse(t, strings.Repeat("Ann 2 1\n", trialRows-2)+"Ann 1 4\n")
	if l.Format != BareLFW || len(l.Pairs) != trialRows-1 {
		t.Errorf("%s with %d pairs", l.Format, len(l.Pairs))
	}
	if _, err := Parse(strings.NewReader(strings.Repeat("Ann 2 1\n", trialRows)+"Ann 1 4\n"), "list.txt"); err == nil || !strings.Contains(err.Error(), "line 1001") {
		t.Errorf("error %v, want one of the line that contradicts", err)
	}
}

func TestNumberedSets(t *testing.T) {
	var b strings.Builder
	for pair := range 6 {
		label := []int{1, 1, 2, 2, 3, 3}[pair]
		fmt.Fprintf(&b, "a%d %d\nb%d %d\n", pair, label, pair, label)
	}
	for pair := range 6 {
		fmt.Fprintf(&b, "c%d 0\nd%d 0\n", pair, pair)
	}
	l := mustParse(t, b.String())
	var got []int
	for i := range l.Pairs {
		got = append(got, l.Set(i))
	}
	if want := []int{0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2}; l.Sets != 3 || !slices.Equal(got, want) {
		t.Errorf("%d sets, %v, want %v", l.Sets, got, want)
	}
	l = mustParse(t, "fold,img1,img2,label\n3,a,b,1\n1,a,c,0\n3,a,d,0\n")
	if l.Sets != 2 || l.Set(0) != 0 || l.Set(1) != 1 || l.Set(2) != 0 {
		t.Errorf("%d sets of the table", l.Sets)
	}
}

// protocolOfCFP writes CFP's protocol with two sets of two pairs of each kind.
func protocolOfCFP(t *testing.T, changed map[string]string) string {
	t.Helper()
	files := map[string]string{
		"Pair_list_F.txt":         "1 ../Data/Images/001/frontal/01.jpg\r\n2  ../Data/Images/001/frontal/02.jpg\n3 ../Data/Images/002/frontal/01.jpg\n",
		"Pair_list_P.txt":         "1 ../Data/Images/001/profile/01.jpg\n2 ../Data/Images/002/profile/01.jpg\n",
		"Split/FF/01/same.txt":    "1,2\n2,1\n",
		"Split/FF/01/diff.txt":    "1,3\n2,3\n",
		"Split/FF/02/same.txt":    "2,1\n1,2\n",
		"Split/FF/02/diff.txt":    "3,2\n3,1\n",
		"Split/FP/9/same.txt":     "1,1\n3,2\n",
		"Split/FP/9/diff.txt":     "1,2\n3,1\n",
		"Split/FP/10/same.txt":    "2,1\n3,2\n",
		"Split/FP/10/diff.txt":    "2,2\n3,1\n",
		"Split/FP/notes/same.txt": "no set\n",
	}
	maps.Copy(files, changed)
	dir := filepath.Join(t.TempDir(), "Protocol")
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if text == "" {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCFP(t *testing.T) {
	dir := protocolOfCFP(t, nil)
	l, err := Read(filepath.Join(dir, "Split", "FP"))
	if err != nil {
		t.Fatal(err)
	}
	const images = "../Data/Images/"
	want := []written{
		{images + "001/frontal/01.jpg", images + "001/profile/01.jpg", true}, {images + "002/frontal/01.jpg", images + "002/profile/01.jpg", true},
		{images + "001/frontal/01.jpg", images + "002/profile/01.jpg", false}, {images + "002/frontal/01.jpg", images + "001/profile/01.jpg", false},
		{images + "001/frontal/02.jpg", images + "001/profile/01.jpg", true}, {images + "002/frontal/01.jpg", images + "002/profile/01.jpg", true},
		{images + "001/frontal/02.jpg", images + "002/profile/01.jpg", false}, {images + "002/frontal/01.jpg", images + "001/profile/01.jpg", false},
	}
	if got := spellOut(l); l.Format != CFP || l.Sets != 2 || l.Set(3) != 0 || l.Set(4) != 1 || len(l.Digest) != 64 || !slices.Equal(got, want) {
		t.Errorf("%s, %d sets, %v, want %v", l.Format, l.Sets, got, want)
	}
	if l, err = Read(filepath.Join(dir, "Split", "FF", "02")); err != nil || l.Sets != 1 || len(l.Pairs) != 4 {
		t.Errorf("a set alone: %+v, %v", l, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "Split", "FP")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{dir, filepath.Dir(dir), filepath.Join(dir, "Split")} {
		if l, err = Read(path); err != nil || l.Sets != 2 || spellOut(l)[0].b != images+"001/frontal/02.jpg" {
			t.Errorf("%s: %+v, %v", path, l, err)
		}
	}
}

func TestCFPErrors(t *testing.T) {
	tests := []struct {
		name, read string
		changed    map[string]string
		want       string
	}{
		{"both splits", ".", nil, "several lists of pairs"},
		{"a list alone", "Pair_list_F.txt", nil, "give the folder Split/FF or Split/FP"},
		{"pairs alone", "Split/FP/10/same.txt", nil, "give the folder Split/FF or Split/FP"},
		{"sets of two sizes", "Split/FF", map[string]string{"Split/FF/02/same.txt": "2,1\n"}, "1 same pairs and 2 different ones, those before it have 2 and 2"},
		{"no different pairs", "Split/FF", map[string]string{"Split/FF/03/same.txt": "1,2\n2,1\n"}, "diff.txt"},
		{"number too large", "Split/FP", map[string]string{"Split/FP/9/diff.txt": "\n1,3\n2,2\n"}, "diff.txt, line 2: number 3 of 2 photographs"},
		{"no number", "Split/FP", map[string]string{"Split/FP/9/diff.txt": "1;2\n2;2\n"}, `diff.txt, line 1: "1;2" is not a number`},
		{"list with a gap", "Split/FF", map[string]string{"Pair_list_F.txt": "1 a.jpg\n3 b.jpg\n"}, "want 2 and a path"},
		{"folder of another name", "Split/XX", map[string]string{"Split/XX/01/same.txt": "1,2\n", "Split/XX/01/diff.txt": "1,3\n"}, "called XX, want FF or FP"},
		{"no set", "Split/EE", map[string]string{"Split/EE/01/pairs.txt": "1,2\n"}, "only if it is of CFP's protocol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Read(filepath.Join(protocolOfCFP(t, tt.changed), tt.read))
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// Kaggle has the same pairs of a development list in one file and the different ones in
// another; each stands for both.
func TestTwins(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	same := write("matchpairsDevTest.csv", "name,imagenum1,imagenum2\nAnn,1,4\nBob,1,2\n")
	l, err := Read(same)
	if err != nil || len(l.Pairs) != 2 {
		t.Fatalf("alone: %+v, %v", l, err)
	}
	different := write("mismatchpairsDevTest.csv", "name,imagenum1,name,imagenum2\nAnn,1,Bob,2\n")
	want := []written{{"Ann/Ann_0001", "Ann/Ann_0004", true}, {"Bob/Bob_0001", "Bob/Bob_0002", true}, {"Ann/Ann_0001", "Bob/Bob_0002", false}}
	for _, path := range []string{same, different} {
		l, err := Read(path)
		if err != nil || !slices.Equal(spellOut(l), want) || len(l.Notes) != 1 || !strings.Contains(l.Notes[0], "are read as one list") {
			t.Errorf("%s: %+v, %v", path, l, err)
		}
	}
	write("mismatchpairsDevTest.csv", "name,imagenum1,imagenum2\nAnn,1,4\n")
	if _, err := Read(same); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "by its name all pairs are alike") {
		t.Errorf("error %v for same pairs among the different ones", err)
	}
}
