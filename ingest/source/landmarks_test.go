package source

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"facepipe/ingest/align"
	"facepipe/internal/alloctest"
)

func landmarkFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "landmarks.txt")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLandmarks(t *testing.T) {
	text := "\ufeff# key x1 y1 ... score\n" +
		"Ann/1.jpg 46.060 62.026 87.785 60.323 68.851 77.656 52.162 99.875 86.450 98.648 0.999\r\n" +
		"\n   \n" +
		"Ann/with space.jpg\t1\t2\t3\t4\t5\t6\t7\t8\t9\t10\n" +
		"Bob/1.jpg,1,2,3,4,5,6,7,8,9,10,0.5\n" +
		"Bob, the elder/1.jpg\t-1.5 2e1  3 4,5, 6 7 8 9 10\n" +
		"  Zed/1.jpg   1 2 3 4 5   6 7 8 9 11"
	l, err := OpenLandmarks(landmarkFile(t, text))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	sum := sha256.Sum256([]byte(text))
	if want := hex.EncodeToString(sum[:]); l.Digest() != want {
		t.Errorf("digest %s, want %s", l.Digest(), want)
	}
	count := align.Landmarks{{X: 1, Y: 2}, {X: 3, Y: 4}, {X: 5, Y: 6}, {X: 7, Y: 8}, {X: 9, Y: 10}}
	tests := []struct {
		key   string
		face  align.Landmarks
		score float64
	}{
		{"Ann/1.jpg", align.Landmarks{{X: 46.060, Y: 62.026}, {X: 87.785, Y: 60.323}, {X: 68.851, Y: 77.656}, {X: 52.162, Y: 99.875}, {X: 86.450, Y: 98.648}}, 0.999},
		{"Ann/with space.jpg", count, 0},
		{"Bob/1.jpg", count, 0.5},
		{"Bob, the elder/1.jpg", align.Landmarks{{X: -1.5, Y: 20}, count[1], count[2], count[3], count[4]}, 0},
		{"Zed/1.jpg", align.Landmarks{count[0], count[1], count[2], count[3], {X: 9, Y: 11}}, 0},
	}
	for _, tt := range tests {
		face, score, ok, err := l.Lookup(tt.key)
		if err != nil || !ok || face != tt.face || score != tt.score {
			t.Errorf("Find(%q) = %v, %v, %v, %v; want %v, %v", tt.key, face, score, ok, err, tt.face, tt.score)
		}
	}
	for _, key := range []string{"", "Ann", "#", "Ann/2.jpg"} {
		if _, _, ok, err := l.Lookup(key); ok || err != nil {
			t.Errorf("Find(%q) = %v, %v", key, ok, err)
		}
	}
}

func TestLandmarksFindsEveryKeyOfMany(t *testing.T) {
	var text strings.Builder
	const n = 5000
	for i := range n {
		fmt.Fprintf(&text, "%05d.jpg %d 2 3 4 5 6 7 8 9 10\n", i, i)
	}
	l, err := OpenLandmarks(landmarkFile(t, text.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for i := range n {
		face, _, ok, err := l.Lookup(fmt.Sprintf("%05d.jpg", i))
		if err != nil || !ok || face[0].X != float64(i) {
			t.Fatalf("key %d: %v, %v, %v", i, face, ok, err)
		}
	}
}

func TestLandmarksRefusals(t *testing.T) {
	const ten = "1 2 3 4 5 6 7 8 9 10"
	tests := []struct{ name, text, want string }{
		{"empty", "", "no landmarks"},
		{"only comments", "# nothing\n\n", "no landmarks"},
		{"too few numbers", "a.jpg 1 2 3\n", "line 1: 3 numbers"},
		{"too many numbers", "# x\na.jpg " + ten + " 11 12\n", "line 2: 12 numbers"},
		{"not a number", "a.jpg 1 2 3 4 5 6 7 8 9 ten\n", `line 1: "ten"`},
		{"not finite", "a.jpg 1 2 3 4 5 6 7 8 9 NaN\n", `line 1: "NaN"`},
		{"infinite", "a.jpg 1 2 3 4 5 6 7 8 9 -Inf\n", `line 1: "-Inf"`},
		{"no key", "\t" + ten + "\n", "line 1: no key"},
		{"a key twice", "a.jpg " + ten + "\nb.jpg " + ten + "\na.jpg " + ten + "\n", `key "a.jpg" is on two lines`},
		{"binary", "\x00\x01\x02" + strings.Repeat("\xff", maxLine+1), "line 1: longer than"},
	}
	for _, tt := range tests {
		path := landmarkFile(t, tt.text)
		_, err := OpenLandmarks(path)
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file and says %q", tt.name, err, tt.want)
		}
	}
	if _, err := OpenLandmarks(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing file was accepted")
	}
}

// faceText is the template's face in an order of its numbers, x and y in turn.
func faceText(order ...int) string {
	var text []string
	for _, i := range order {
		p := align.Template(align.CropSize)[i/2]
		text = append(text, fmt.Sprint([]float64{p.X, p.Y}[i%2]))
	}
	return strings.Join(text, " ")
}

func inOrder() string   { return faceText(0, 1, 2, 3, 4, 5, 6, 7, 8, 9) }
func mouthSwap() string { return faceText(0, 1, 2, 3, 4, 5, 8, 9, 6, 7) }

// The usual wrong ways of writing landmarks are recognised and told, or refused.
func TestLandmarksRecognisesOrders(t *testing.T) {
	tests := []struct{ name, row, notice, fault string }{
		{"usual", inOrder(), "", ""},
		{"score", inOrder() + " 0.98", "", ""},
		{"apart", faceText(0, 2, 4, 6, 8, 1, 3, 5, 7, 9), "x1 ... x5 y1 ... y5", ""},
		{"label", "12 " + inOrder(), "a label before x1 y1 ... x5 y5", ""},
		{"person", faceText(2, 3, 0, 1, 4, 5, 8, 9, 6, 7), "from the person's left", ""},
		{"mouth", mouthSwap(), "", "left and right mouth corner swapped"},
		{"nothing", "10 20 20 10 30 70 5 5 90 8", "", "in no known order"},
		{"label behind", inOrder() + " 7", "", "line 1: the last number, 7, is no confidence"},
		{"zero behind", inOrder() + " 0", "", "line 1: the last number, 0, is no confidence"},
	}
	for _, tt := range tests {
		var text strings.Builder
		for i := range 6 {
			fmt.Fprintf(&text, "%d.jpg %s\n", i, tt.row)
		}
		l, err := OpenLandmarks(landmarkFile(t, text.String()))
		if tt.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%s: error %v, want %q", tt.name, err, tt.fault)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		face, _, ok, err := l.Lookup("3.jpg")
		if err != nil || !ok || face != align.Template(align.CropSize) {
			t.Errorf("%s: %v, %v, %v", tt.name, face, ok, err)
		}
		if got := strings.Join(l.Notices(), ""); (tt.notice == "") != (got == "") || !strings.Contains(got, tt.notice) {
			t.Errorf("%s: notices %q, want %q", tt.name, got, tt.notice)
		}
		l.Close()
	}
}

func TestLandmarksFindsOtherForms(t *testing.T) {
	const keys = "Ann/1.jpg Bob/1.jpg Bob/2.jpg"
	for name, form := range map[string]func(string) string{
		"dot":       func(key string) string { return "./" + key },
		"backslash": func(key string) string { return strings.ReplaceAll(key, "/", `\`) },
		"absolute":  func(key string) string { return "/data/set/" + key },
		"drive":     func(key string) string { return `D:\set\` + strings.ReplaceAll(key, "/", `\`) },
		"url":       func(key string) string { return "file:///data/" + key },
	} {
		var text string
		for i, key := range strings.Fields(keys) {
			text += fmt.Sprintf("%s\t%s 0.%d\n", form(key), inOrder(), i+1)
		}
		l, err := OpenLandmarks(landmarkFile(t, text))
		if err != nil {
			t.Fatal(err)
		}
		for i, key := range strings.Fields(keys) {
			if _, score, ok, err := l.Lookup(key); err != nil || !ok || score != float64(i+1)/10 {
				t.Errorf("%s: Lookup(%q) = %v, %v, %v", name, key, score, ok, err)
			}
		}
		for _, key := range []string{"1.jpg", "Cid/1.jpg", "nn/1.jpg"} {
			if _, _, ok, err := l.Lookup(key); ok || err != nil {
				t.Errorf("%s: Lookup(%q) = %v, %v", name, key, ok, err)
			}
		}
		l.Close()
	}
	// A key that several folders could complete is nobody's.
	l, err := OpenLandmarks(landmarkFile(t, "/a/Ann/1.jpg "+inOrder()+"\n/a/Ann/Ann/1.jpg "+inOrder()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, _, ok, err := l.Lookup("Ann/1.jpg"); ok || err != nil {
		t.Errorf("an ambiguous key: %v, %v", ok, err)
	}
	if _, err := OpenLandmarks(landmarkFile(t, "./a.jpg "+inOrder()+"\na.jpg "+inOrder()+"\n")); err == nil || !strings.Contains(err.Error(), "on two lines") {
		t.Errorf("a key in two forms: %v", err)
	}
}

// Lists such as VGGFace2's have a header, keys in quotation marks and no ending.
func TestLandmarksWithoutEnding(t *testing.T) {
	row := strings.ReplaceAll(inOrder(), " ", ",")
	l, err := OpenLandmarks(landmarkFile(t, "NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y\n"+
		`"n000001/0001_01",`+row+"\n"+`"n000001/0002_01",`+row+",0.5\n"+`"n000001/0002_01.png",`+row+",0.25\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for key, want := range map[string]float64{"n000001/0001_01.jpg": 0, "n000001/0002_01.jpg": 0.5, "n000001/0002_01.png": 0.25, "n000001/0001_01": 0} {
		if face, score, ok, err := l.Lookup(key); err != nil || !ok || score != want || face != align.Template(align.CropSize) {
			t.Errorf("Lookup(%q) = %v, %v, %v, %v", key, face, score, ok, err)
		}
	}
	for _, key := range []string{"n000001/0001_01.txt", "n000001/0003_01.jpg", ".jpg"} {
		if _, _, ok, err := l.Lookup(key); ok || err != nil {
			t.Errorf("Lookup(%q): %v, %v", key, ok, err)
		}
	}
	celeba, err := OpenLandmarks(landmarkFile(t, "1\nlefteye_x lefteye_y righteye_x\n000001.jpg "+inOrder()+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer celeba.Close()
	if celeba.Len() != 1 || celeba.First() != "000001.jpg" {
		t.Errorf("%d lines, the first of %q", celeba.Len(), celeba.First())
	}
	if _, err := OpenLandmarks(landmarkFile(t, "a.jpg "+inOrder()+"\nname x y\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a header behind the first key: %v", err)
	}
}

func FuzzLandmarkLine(f *testing.F) {
	f.Add("a.jpg 1 2 3 4 5 6 7 8 9 10 0.5\r\n")
	f.Add("a b.jpg\t1,2,3,4,5,6,7,8,9,1e3")
	f.Add("# comment")
	f.Fuzz(func(t *testing.T, text string) {
		var line landmarkLine
		var err error
		alloctest.AtMost(t, 1<<18+100*len(text), func() { line, err = parseLine(text) })
		if err != nil || line.key == "" {
			return
		}
		for _, p := range line.face {
			if math.IsNaN(p.X+p.Y) || math.IsInf(p.X, 0) || math.IsInf(p.Y, 0) {
				t.Fatalf("%q gave %v", text, line.face)
			}
		}
	})
}
