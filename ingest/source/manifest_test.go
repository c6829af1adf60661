package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"facepipe/ingest/align"
	"facepipe/internal/alloctest"
	"facepipe/store"
)

// table writes a manifest into a folder of pictures and returns its path.
func table(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// pictures is a folder set of the same picture under several names.
func pictures(t testing.TB, names ...string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "set")
	for _, name := range append(names, "some.png") {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, picture, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func openTable(t testing.TB, path string) Source {
	t.Helper()
	src, err := Spec{Kind: "manifest", Path: path}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := src.Close(); err != nil {
			t.Error(err)
		}
	})
	return src
}

// items walks a manifest.
func items(t testing.TB, path string) []Item {
	t.Helper()
	var all []Item
	if err := openTable(t, path).Walk(t.Context(), func(item Item) error { all = append(all, item); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// describe writes one line an item: key, identity, and why it could not be read.
func describe(all []Item) []string {
	var out []string
	for _, item := range all {
		line := item.Key + " | " + item.Identity
		if _, err := item.Read(nil); err != nil {
			line += " | " + err.Error()
		}
		out = append(out, line)
	}
	return out
}

func ascending() *align.Landmarks {
	return &align.Landmarks{{X: 1, Y: 2}, {X: 3, Y: 4}, {X: 5, Y: 6}, {X: 7, Y: 8}, {X: 9, Y: 10}}
}

// The same three photographs in every way of writing them.
func TestManifestFormats(t *testing.T) {
	root := pictures(t, "Ann/1.png", "Bob/1.png", "Bob/a, b \"c\".png")
	csv := `path,identity,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4,x,y,w,h,split,camera,note
Ann/1.png,Ann,1,2,3,4,5,6,7,8,9,10,10,20,30,40.5,train,A7,"two
lines"
./Bob//1.png,Bob,,,,,,,,,,,,,,,val,,
"Bob/a, b ""c"".png",7,1,2,3,4,5,6,7,8,9,10,,,,,,"", x `
	tests := []struct{ name, text string }{
		{"a.csv", csv},
		{"bom.csv", "\ufeff" + csv + "\n"},
		{"a.tsv", "Path\tIdentity\tlandmarks\tbbox_xyxy\tSplit\tcamera\tnote\r\n" +
			"Ann/1.png\tAnn\t1 2 3 4 5 6 7 8 9 10\t10 20 40 60.5\ttrain\tA7\t\"two\nlines\"\r\n" +
			"Bob/1.png\tBob\t\t\tval\t\t\r\n" +
			"\"Bob/a, b \"\"c\"\".png\"\t7\t[1, 2, 3, 4, 5; 6 7 8 9 10]\t\t\t\t x \r\n"},
		{"semicolon.csv", "image_path;Person ID;landmarks;box;subset;camera;note\n" +
			"Ann/1.png;Ann;1 2 3 4 5 6 7 8 9 10;10 20 30 40.5;train;A7;\"two\nlines\"\n\n" +
			"Bob/1.png; Bob ;;;val;;\n;;;;;;\n" +
			"Bob/a, b \"c\".png;7;1 2 3 4 5 6 7 8 9 10;;;; x \n"},
		{"a.jsonl", `{"path":"Ann/1.png","identity":"Ann","landmarks":[[1,2],[3,4],[5,6],[7,8],[9,10]],"box":[10,20,30,40.5],"split":"train","camera":"A7","note":"two\nlines"}` + "\n\n" +
			`{"split":"val", "camera":null, "path":"Bob/1.png", "identity" : "Bob", "note":""}` + "\r\n" +
			`{"path":"Bob/a, b \"c\".png","identity":7,"kps":[1,2,3,4,5,6,7,8,9,10],"box":null,"camera":"","note":" x "}`},
		{"list.txt", `{"file":"Ann/1.png","label":"Ann","bbox":{"x":10,"y":20,"width":30,"height":40.5},"points":"1 2 3 4 5 6 7 8 9 10","split":"train","camera":"A7","note":"two\nlines"}
{"file":"Bob/1.png","label":"Bob","split":"val","camera":"","note":""}
{"file":"Bob/a, b \"c\".png","label":"7","points":[1,2,3,4,5,6,7,8,9,10],"camera":"","note":" x "}
`},
	}
	attributes := func(camera, note string) []Attribute {
		return []Attribute{{"camera", camera}, {"note", note}}
	}
	want := []Item{
		{Key: "Ann/1.png", Identity: "Ann", Landmarks: ascending(), Box: &Box{10, 20, 30, 40.5}, Split: "train", Attributes: attributes("A7", "two\nlines")},
		{Key: "Bob/1.png", Identity: "Bob", Split: "val", Attributes: attributes("", "")},
		{Key: `Bob/a, b "c".png`, Identity: "set/7", Landmarks: ascending(), Attributes: attributes("", " x ")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := table(t, root, tt.name, tt.text)
			sum := sha256.Sum256([]byte(tt.text))
			if got := openTable(t, path).Digest(); got != hex.EncodeToString(sum[:]) {
				t.Errorf("digest %s", got)
			}
			got := items(t, path)
			if len(got) != len(want) {
				t.Fatalf("%d items: %q", len(got), describe(got))
			}
			for i, item := range got {
				if data, err := item.Read(nil); err != nil || string(data) != string(picture) {
					t.Errorf("%s: read %d bytes, %v", item.Key, len(data), err)
				}
				item.Read = nil
				if !reflect.DeepEqual(item, want[i]) {
					t.Errorf("got  %+v\nwant %+v", item, want[i])
				}
			}
		})
	}
}

func TestManifestBadRows(t *testing.T) {
	root := pictures(t, "a.png", "b.png", "c.png", "d.png")
	const header = "path,identity,x,y,w,h,landmarks\n"
	long := strings.Repeat("x", maxRecord)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"cells", header + "a.png,A\nb.png,B,,,,,\nc.png,C,,,,,,\n", []string{
			"//line 2 |  | line 2: has 2 cells, the header has 7",
			"b.png | B",
			"//line 4 |  | line 4: has 8 cells, the header has 7",
		}},
		{"numbers", header + "a.png,A,1,2,3,wide,\nb.png,B,1,2,NaN,4,\nc.png,C,1,,3,4,\nd.png,D,,,,,1 2 3\nsome.png,S,1,1,0,5,\n" + root + "/d.png,E,1.5,-2,3e1,4,\n", []string{
			`a.png |  | line 2: column "h": "wide" is not a number`,
			`b.png |  | line 3: column "w": "NaN" is not a number`,
			`c.png |  | line 4: column "y" is empty, others of its set are not`,
			`d.png |  | line 5: has 3 numbers for landmarks, want 10 or 136`,
			`some.png |  | line 6: has a box of 0 by 5 pixels`,
			root + "/d.png | E",
		}},
		{"paths", header + "../set/a.png,,,,,,\nx/../../b.png,,,,,,\n,A,,,,,\nx/../c.png,,,,,,\n.,,,,,,\nnone.png,,,,,,\na\x00.png,,,,,,\n" + root + "/d.png,D,,,,,\n", []string{
			"../set/a.png |  | line 2: the path leads out of the manifest's folder",
			"../b.png |  | line 3: the path leads out of the manifest's folder",
			"//line 4 |  | line 4: names no file",
			"c.png | ",
			". |  | not a regular file but a folder",
			"none.png |  | stat: no such file or directory",
			"//line 8 |  | line 8: the path holds a NUL byte",
			root + "/d.png | D",
		}},
		{"repeats", header + "a.png,A,,,,,\n./a.png,B,,,,,\nb.png,B,,,,,bad\nb.png,B,,,,,\na.png,A,,,,,\n", []string{
			"a.png | A",
			"a.png//line 3 |  | line 3: repeats the path of line 2",
			`b.png |  | line 4: column "landmarks": "bad" is not a number`,
			"b.png//line 5 |  | line 5: repeats the path of line 4",
			"a.png//line 6 |  | line 6: repeats the path of line 2",
		}},
		{"quotes", header + "\"a.png\"x,A,,,,,\nb.png,5\" tall,,,,,\nc.png,\"C,,,,,\nd.png,D,,,,,\n", []string{
			"//line 2 |  | line 2: text behind a quoted cell",
			`b.png | 5" tall`,
			fmt.Sprintf("//line 4 |  | line 4: a quoted cell does not end within %d bytes", maxRecord),
			"d.png | D",
		}},
		{"lines", header + "a.png,A,,,,,\n" + long + "\nb.png,B,,,,,\nc.png,\"" + long + long + "\nd.png,D,,,,,", []string{
			"a.png | A",
			fmt.Sprintf("//line 3 |  | line 3: is longer than %d bytes", maxRecord),
			"b.png | B",
			fmt.Sprintf("//line 5 |  | line 5: a quoted cell does not end within %d bytes", maxRecord),
			"d.png | D",
		}},
		{"json", "{\"path\":\"a.png\"}\n[1]\n{\"path\":\"b.png\"\n{\"path\":\"b.png\"}}\n{\"path\":\"b\xff.png\"}\n{\"identity\":\"C\"}\n{\"path\":\"c.png\",\"Path\":\"d.png\"}\n{\"path\":\"c.png\",\"path\":\"d.png\"}\n{\"path\":\"d.png\",\"box\":{\"x\":1}}\n{}\n{\"path\":\"some.png\",\"identity\":\"S\"}\n", []string{
			"a.png | ",
			"//line 2 |  | line 2: not a JSON object",
			"//line 3 |  | line 3: the JSON object does not end on its line",
			"//line 4 |  | line 4: text behind the JSON object",
			"//line 5 |  | line 5: is not valid UTF-8",
			"//line 6 |  | line 6: no column is called path, or one of its other names",
			"//line 7 |  | line 7: several columns mean path",
			`//line 8 |  | line 8: columns 1 and 2 are both called "path"`,
			"d.png | ",
			"//line 10 |  | line 10: no column is called path, or one of its other names",
			"some.png | S",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ending := ".csv"
			if tt.name == "json" {
				ending = ".jsonl"
			}
			wantList(t, describe(items(t, table(t, root, tt.name+ending, tt.text))), tt.want...)
		})
	}
}

// The columns that MTCNN's users, VGGFace2 and CelebA write are landmarks.
func TestManifestLandmarkColumns(t *testing.T) {
	root := pictures(t, "a.png")
	for _, header := range []string{
		"file_name,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y",
		"NAME_ID,P1X,P1Y,P2X,P2Y,P3X,P3Y,P4X,P4Y,P5X,P5Y",
		"image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y",
		"path,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_tip_x,nose_tip_y,left_mouth_corner_x,left_mouth_corner_y,right_mouth_corner_x,right_mouth_corner_y",
	} {
		got := items(t, table(t, root, "m.csv", header+"\na.png,1,2,3,4,5,6,7,8,9,10\n"))
		if len(got) != 1 || !reflect.DeepEqual(got[0].Landmarks, ascending()) || got[0].Attributes != nil {
			t.Errorf("%s: %+v", header, got)
		}
	}
	path := table(t, root, "part.csv", "path,left_eye_x,left_eye_y,nose_x,nose_y\na.png,1,2,3,4\n")
	if _, err := (Spec{Kind: "manifest", Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), `column "left_eye_x" belongs to no complete set`) {
		t.Errorf("a part of the landmarks: %v", err)
	}
}

// A manifest's numbers are read in the order in which they make faces.
func TestManifestRecognisesOrders(t *testing.T) {
	root := pictures(t, "1.png", "2.png", "3.png", "4.png")
	text := func(row string) string {
		out := "path,landmarks\n"
		for i := range 4 {
			out += fmt.Sprintf("%d.png,%s\n", i+1, row)
		}
		return out
	}
	src := openTable(t, table(t, root, "apart.csv", text(faceText(0, 2, 4, 6, 8, 1, 3, 5, 7, 9))))
	err := src.Walk(t.Context(), func(item Item) error {
		if *item.Landmarks != align.Template(align.CropSize) {
			t.Errorf("%s: %v", item.Key, *item.Landmarks)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := src.(Noticer).Notices(); len(got) != 1 || !strings.Contains(got[0], "x1 ... x5 y1 ... y5") {
		t.Errorf("notices %q", got)
	}
	path := table(t, root, "mouth.csv", text(mouthSwap()))
	if _, err := (Spec{Kind: "manifest", Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "mouth corner swapped") {
		t.Errorf("a swapped mouth: %v", err)
	}
}

// Paths from Windows and file URLs lead to the files that they mean.
func TestManifestForeignPaths(t *testing.T) {
	root := pictures(t, "Ann/1.png", "Ann/2 b.png", `Bob\1.png`)
	text := "path\n" + strings.Join([]string{
		`Ann\1.png`,
		`.\some.png`,
		`Bob\1.png`,
		"file://" + root + "/Ann/2%20b.png",
		"file://localhost" + root + "/Ann/1.png",
		`C:\faces\1.png`,
		`Cid\1.png`,
	}, "\n")
	wantList(t, describe(items(t, table(t, root, "m.csv", text))),
		"Ann/1.png | ", "some.png | ", `Bob\\1.png | `, root+"/Ann/2 b.png | ", root+"/Ann/1.png | ",
		`C:\\faces\\1.png |  | line 7: is the path of a Windows computer: write it relative to the manifest's folder`,
		`Cid\\1.png |  | stat: no such file or directory`)

	path := table(t, root, "none.csv", "path\nfaces/1.png\nfaces/2.png\n")
	_, err := Spec{Kind: "manifest", Path: path}.Open(t.Context())
	if want := filepath.Join(root, "faces/1.png"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, want the first path %s", err, want)
	}
}

// A path without an ending leads to the one photograph that it can mean.
func TestManifestPathsWithoutEnding(t *testing.T) {
	root := pictures(t, "n1/0001_01.png", "n1/0002_01.png", "n1/0002_01.jpg", "plain")
	text := "NAME_ID\n" + strings.Join([]string{`"n1/0001_01"`, "n1/0002_01", "n1/0003_01", "plain"}, "\n")
	wantList(t, describe(items(t, table(t, root, "loose.csv", text))),
		"n1/0001_01.png | ", "n1/0002_01 |  | stat: no such file or directory",
		"n1/0003_01 |  | stat: no such file or directory", "plain | ")
}

func TestManifestRefusals(t *testing.T) {
	root := pictures(t, "a.png", "b.png")
	tests := []struct{ name, file, text, want string }{
		{"empty", "m.csv", "", "has no header"},
		{"only a header", "m.csv", "path,identity\n", "no rows"},
		{"no path", "m.csv", "identity,age\nA,5\n", "no column is called path"},
		{"no header", "m.csv", "a.png,A\nb.png,B\n", "no column is called path"},
		{"two paths", "m.csv", "path,Path\na.png,a.png\n", "several columns mean path"},
		{"a name twice", "m.csv", "path,age,age\na.png,1,2\n", `columns 2 and 3 are both called "age"`},
		{"a coordinate missing", "m.csv", "path,x0,y0,x1,y1,x2,y2,x3,y3,x4\na.png,1,2,3,4,5,6,7,8,9\n", `column "x0" belongs to no complete set`},
		{"a box's corner missing", "m.csv", "path,x1,y1,x2\na.png,1,2,3\n", `column "x1" belongs to no complete set`},
		{"an open quote", "m.csv", "path,\"identity\na.png,A\n", "header: a quoted cell does not end"},
		{"UTF-16", "m.csv", "\xff\xfep\x00a\x00t\x00h\x00\n\x00", "UTF-16"},
		{"binary", "m.csv", "\x1f\x8b\x08\x00\x00\x00", "not a text file"},
		{"no file of it is there", "m.csv", "path\nx.png\ny.png\n", "none of its 2 rows leads to an image below " + root},
		{"no image", "m.csv", "path\nm.csv\n", "none of its 1 rows leads to an image"},
		{"a JSON array", "m.json", `[{"path":"a.png"},` + "\n" + `{"path":"b.png"}]`, "none of its 2 rows leads to an image; line 1: not a JSON object"},
		{"no JSON rows", "m.jsonl", "\n\n", "no rows"},
	}
	for _, tt := range tests {
		path := table(t, root, tt.file, tt.text)
		_, err := Spec{Kind: "manifest", Path: path}.Open(t.Context())
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want one that names the file and says %q", tt.name, err, tt.want)
		}
	}
	pipe := filepath.Join(root, "pipe.csv")
	if err := unix.Mkfifo(pipe, 0o644); err != nil {
		t.Skip(err)
	}
	for path, want := range map[string]string{pipe: "a named pipe", root: "not a regular file", filepath.Join(root, "none.csv"): "no such file"} {
		if _, err := (Spec{Kind: "manifest", Path: path}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", path, err)
		}
	}
	// A pipe among the photographs must not hold anything up either.
	wantList(t, describe(items(t, table(t, root, "m.csv", "path\npipe.csv\na.png\n"))),
		"pipe.csv |  | not a regular file but a named pipe", "a.png | ")
}

func TestManifestColumns(t *testing.T) {
	numbered := func(n, first int) string {
		var names []string
		for i := first; i < first+n; i++ {
			names = append(names, fmt.Sprintf("x_%d,y_%d", i, i))
		}
		return strings.Join(names, ",")
	}
	counted := func(n int) string {
		var cells []string
		for i := 1; i <= n; i++ {
			cells = append(cells, fmt.Sprint(i))
		}
		return strings.Join(cells, ",")
	}
	// Of points (1, 2), (3, 4) ... the i-th, from 0, is (2i+1, 2i+2).
	of68 := &align.Landmarks{{X: 78, Y: 79}, {X: 90, Y: 91}, {X: 61, Y: 62}, {X: 97, Y: 98}, {X: 109, Y: 110}}
	tests := []struct {
		header, row string
		landmarks   *align.Landmarks
		box         *Box
		attributes  []Attribute
	}{
		{"path," + numbered(5, 0), "a.png," + counted(10), ascending(), nil, nil},
		{"path," + numbered(5, 1), "a.png," + counted(10), ascending(), nil, nil},
		{"path," + numbered(68, 0), "a.png," + counted(136), of68, nil, nil},
		{"path," + numbered(68, 1), "a.png," + counted(136), of68, nil, nil},
		{"path,landmarks68", `a.png,"` + counted(136) + `"`, of68, nil, nil},
		{"path,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y", "a.png," + counted(10), ascending(), nil, nil},
		{"y4,x4,y3,x3,y2,x2,y1,x1,y0,x0,path", "10,9,8,7,6,5,4,3,2,1,a.png", ascending(), nil, nil},
		{"path,x1,y1,x2,y2,width,height", "a.png,1,2,11,22,640,480", nil, &Box{1, 2, 10, 20}, []Attribute{{"width", "640"}, {"height", "480"}}},
		{"path,x_1,y_1,width,height", "a.png,1,2,10,20", nil, &Box{1, 2, 10, 20}, nil},
		{"path,XMin,YMin,XMax,YMax", "a.png,1,2,11,22", nil, &Box{1, 2, 10, 20}, nil},
		{"path,left,top,right,bottom", "a.png,1,2,11,22", nil, &Box{1, 2, 10, 20}, nil},
		{"path,bbox.x,bbox.y,bbox.w,bbox.h", "a.png,1,2,10,20", nil, &Box{1, 2, 10, 20}, nil},
		{"path,box xywh", `a.png,"1, 2, 10, 20"`, nil, &Box{1, 2, 10, 20}, nil},
		{"path,bbox_xyxy", "a.png,[1 2 11 22]", nil, &Box{1, 2, 10, 20}, nil},
		{"path,box,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5", "a.png,1 2 10 20," + counted(10), ascending(), &Box{1, 2, 10, 20}, nil},
		{",path,x,y,Age Group,identity,label", "0,a.png,5,6,young,A,3", nil, nil, []Attribute{{"column 1", "0"}, {"x", "5"}, {"y", "6"}, {"Age Group", "young"}, {"label", "3"}}},
		{"path,J\xfcrgen,dir", "a.png,\xff,C:\\x", nil, nil, []Attribute{{`J\xfcrgen`, `\xff`}, {"dir", `C:\x`}}},
	}
	root := pictures(t, "a.png")
	for _, tt := range tests {
		got := items(t, table(t, root, "m.csv", tt.header+"\n"+tt.row+"\n"))[0]
		if _, err := got.Read(nil); err != nil {
			t.Errorf("%s: %v", tt.header, err)
			continue
		}
		near := tt.landmarks == nil == (got.Landmarks == nil)
		for i := 0; near && tt.landmarks != nil && i < len(tt.landmarks); i++ {
			near = math.Hypot(got.Landmarks[i].X-tt.landmarks[i].X, got.Landmarks[i].Y-tt.landmarks[i].Y) < 1e-9
		}
		if !near || !reflect.DeepEqual(got.Box, tt.box) || !reflect.DeepEqual(got.Attributes, tt.attributes) {
			t.Errorf("%s:\n got %v %v %v\nwant %v %v %v", tt.header, got.Landmarks, got.Box, got.Attributes, tt.landmarks, tt.box, tt.attributes)
		}
	}
}

func TestManifestOddNames(t *testing.T) {
	root := pictures(t, "ok.png")
	if err := os.WriteFile(filepath.Join(root, "J\xfcrgen.png"), picture, 0o644); err != nil {
		t.Skipf("this file system wants UTF-8: %v", err)
	}
	if err := os.WriteFile(filepath.Join(root, `J\xfcrgen.png`), picture, 0o644); err != nil {
		t.Fatal(err)
	}
	// As folder names them; the two names stay two keys.
	wantList(t, describe(items(t, table(t, root, "m.csv", "path,identity\nJ\xfcrgen.png,J\xfcrgen\n"+`J\xfcrgen.png,J\xfcrgen`+"\nok.png,Jürgen\n"))),
		`J\xfcrgen.png | J\xfcrgen`, `J\\xfcrgen.png | J\\xfcrgen`, "ok.png | Jürgen")
}

func TestManifestThatChanges(t *testing.T) {
	root := pictures(t, "a.png", "b.png")
	path := table(t, root, "m.csv", "path\na.png\n")
	src := openTable(t, path)
	table(t, root, "m.csv", "path\nb.png\n")
	err := src.Walk(t.Context(), func(Item) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("error %v", err)
	}
}

func TestManifestWalkStops(t *testing.T) {
	src := openTable(t, table(t, pictures(t), "m.csv", "path\n"+strings.Repeat("some.png\n", 20)))
	enough := errors.New("enough")
	if err := src.Walk(t.Context(), func(Item) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("after the visitor's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	seen := 0
	if err := src.Walk(ctx, func(Item) error { seen++; cancel(); return nil }); !errors.Is(err, context.Canceled) || seen != 1 {
		t.Errorf("after cancelling: %v, %d items", err, seen)
	}
}

// Whatever a manifest is cut to, what is whole before the cut is there, and whatever
// one bit of it becomes, keys stay unique and valid.
func TestManifestDamage(t *testing.T) {
	root := pictures(t, "a.png", "b.png", "c.png")
	texts := map[string]string{
		"m.csv":   "path,identity,box,note\na.png,A,1 2 3 4,\"x\ny\"\nb.png,B,,\nc.png,\"C\"\"c\",,z\n",
		"m.jsonl": `{"path":"a.png","identity":"A","box":[1,2,3,4]}` + "\n" + `{"path":"b.png","box":{"x":1,"y":2,"w":3,"h":4}}` + "\n" + `{"path":"c.png"}` + "\n",
	}
	for name, text := range texts {
		for cut := range len(text) + 1 {
			whole := 0
			for _, key := range []string{"a.png", "b.png", "c.png"} {
				if at := strings.Index(text, key); at >= 0 && cut >= at {
					if end := strings.IndexByte(text[at:], '\n'); end >= 0 && cut > at+end {
						whole++
					}
				}
			}
			good := goodItems(t, table(t, root, name, text[:cut]))
			// A row with a cell of two lines is whole one line later than counted.
			if good < whole-1 || good > 3 {
				t.Errorf("%s cut at %d: %d items are good, %d rows are whole", name, cut, good, whole)
			}
		}
		for bit := range 8 * len(text) {
			flipped := []byte(text)
			flipped[bit/8] ^= 1 << (bit % 8)
			if good := goodItems(t, table(t, root, name, string(flipped))); good > 4 {
				t.Errorf("%s with bit %d flipped: %d items are good", name, bit, good)
			}
		}
	}
}

// goodItems checks what holds for every manifest that opens, and counts the items that
// can be read.
func goodItems(t testing.TB, path string) (good int) {
	t.Helper()
	src, err := Spec{Kind: "manifest", Path: path}.Open(t.Context())
	if err != nil {
		return 0
	}
	defer src.Close()
	keys := map[string]bool{}
	err = src.Walk(t.Context(), func(item Item) error {
		if err := store.ValidKey(item.Key); err != nil && len(item.Key) <= store.MaxKeyBytes {
			t.Errorf("key %q: %v", item.Key, err)
		}
		if keys[item.Key] {
			t.Errorf("key %q twice", item.Key)
		}
		keys[item.Key] = true
		if !utf8.ValidString(item.Identity + item.Split) {
			t.Errorf("identity %q, split %q", item.Identity, item.Split)
		}
		names := map[string]bool{}
		for _, a := range item.Attributes {
			if names[a.Name] || !utf8.ValidString(a.Name+a.Value) || a.Name == "" {
				t.Errorf("attributes %q", item.Attributes)
			}
			names[a.Name] = true
		}
		if b := item.Box; b != nil && !(b.W > 0 && b.H > 0 && b.X-b.X == 0 && b.Y-b.Y == 0) {
			t.Errorf("box %v", b)
		}
		if _, err := item.Read(nil); err == nil {
			good++
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	return good
}

func fuzzManifest(f *testing.F, name string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	root := pictures(f, "a.png", "b.png")
	f.Fuzz(func(t *testing.T, text []byte) {
		path := table(t, root, name, string(text))
		alloctest.AtMost(t, 8<<20+4000*len(text), func() { goodItems(t, path) })
	})
}

func FuzzManifestCSV(f *testing.F) {
	fuzzManifest(f, "m.csv", "path,identity,x,y,w,h\na.png,A,1,2,3,4\n\"b.png\",\"B\"\"b\n\",,,,\r\n", "path;x0;y0\n", "\ufeffpath\n\n.\n..\n",
		"path,x0,y0,x1,y1,x2,y2,x3,y3,x4,y4\na.png,1,2,3,4,5,6,7,8,9,1e308\n")
}

func FuzzManifestTSV(f *testing.F) {
	fuzzManifest(f, "m.tsv", "path\tidentity\tkps\na.png\t7\t1 2 3 4 5 6 7 8 9 10\nb.png\tB\n")
}

func FuzzManifestJSONL(f *testing.F) {
	fuzzManifest(f, "m.jsonl", `{"path":"a.png","box":{"x":1,"y":2,"w":3,"h":4},"kps":[[1,2],[3,4],[5,6],[7,8],[9,10]]}`+"\n"+`{"path":"b.png","a":{"b":[null,true]}}`,
		`{"path":"a.png"}{`, "[]\n{\"file\": \"a.png\"}")
}

// Repeated keys are found among many; the memory in use does not grow with the rows.
func TestManifestOfManyRows(t *testing.T) {
	const rows = 100_000
	root := pictures(t)
	path := filepath.Join(root, "m.csv")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	note := strings.Repeat("n", 200)
	fmt.Fprintln(file, "path,identity,note\nsome.png,A,")
	for i := range rows {
		name := fmt.Sprintf("%06d.png", i)
		if i == rows-1 {
			name = "000000.png"
		}
		fmt.Fprintf(file, "%s,P%d,%s\n", name, i/50, note)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	before := heap()
	src := openTable(t, path)
	seen := 0
	var peak uint64
	var last Item
	err = src.Walk(t.Context(), func(item Item) error {
		if seen%20_000 == 0 {
			peak = max(peak, heap())
		}
		seen++
		last = item
		return nil
	})
	if err != nil || seen != rows+1 {
		t.Fatalf("%d items, %v", seen, err)
	}
	if _, err := last.Read(nil); last.Key != fmt.Sprintf("000000.png//line %d", rows+2) || err == nil || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("the last item is %s, %v", last.Key, err)
	}
	// The read buffer is the largest part of it.
	if grown := int64(peak) - int64(before); grown > 4<<20 {
		t.Errorf("%d bytes more are in use while walking over %d rows", grown, rows)
	}
}

// heap is the number of bytes in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
