package source

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"facepipe/ingest/align"
)

// oneShard is a source of one shard, in a folder called faces.
func oneShard(t testing.TB, members ...string) Source {
	t.Helper()
	dir := shardFolder(t, map[string][]byte{"a.tar": tarOf(t, members...)})
	return openedShards(t, filepath.Join(dir, "a.tar"))
}

// Images are told apart by content, and none vanishes.
func TestWebDatasetImagesByContent(t *testing.T) {
	const jpeg, png, tiff, avif = "\xff\xd8\xff\xe0", "\x89PNG\r\n\x1a\n", "II*\x00", "\x00\x00\x00\x20ftypavif"
	walk(t, oneShard(t,
		"0.jfif", "A", "1.jpe", "B", "2", jpeg, "3.tif", "C", "4.avif", "D", "5.gif", "E", "6.img", png, "7.dat", avif,
		"8.original", tiff, "9.data", "no image", "README", "text", "caption.txt", "x",
		"__MACOSX/0.jpg", jpeg, "._0.jpg", jpeg, "d/.DS_Store", "x", "d/Thumbs.db", "x", "desktop.ini", "x", ".git/1.jpg", jpeg,
	)).want(t, []string{
		"a/0.jfif |  | A", "a/1.jpe |  | B", "a/2 |  | " + jpeg, "a/3.tif |  | C", "a/4.avif |  | D", "a/5.gif |  | E",
		"a/6.img |  | " + png, "a/7.dat |  | " + avif, "a/8.original |  | " + tiff,
		"a/9.data |  ! sample has no photograph, only .data",
		"a/README |  ! sample has no photograph, only a member without an extension",
	})
}

// Of a sample's images the photograph is taken, and the others are told.
func TestWebDatasetPhotographs(t *testing.T) {
	walk(t, oneShard(t,
		"0.seg.png", "m", "0.png", "m", "0.jpg", "A", "0.cls", "1", "0.npy", "x",
		"1.face_mask.png", "m", "1.webp", "B", "1.depth.tiff", "m",
		"2.left.jpg", "C", "2.right.jpg", "D", "2.mask.png", "m",
		"3.jpg", "E", "3.right.jpg", "F", "3.right.cls", "2", "3.left.jpg", "m",
		"4.jpg", "G", "4.5.jpg", "H",
		"5.mask.png", "m",
	)).want(t, []string{
		"a/0.jpg | faces/1 | A", "a/1.webp |  | B", "a/2.left.jpg |  | C", "a/2.right.jpg |  | D",
		"a/3.jpg |  | E", "a/3.right.jpg | faces/2 | F", "a/4.jpg |  | G", "a/4.5.jpg |  | H",
		"a/5.mask.png |  ! sample has no photograph, only .mask.png",
	},
		"6 images beside a photograph of the same name are left out: 1 .depth.tiff, 1 .face_mask.png, 1 .left.jpg, 1 .mask.png, 1 .png, 1 .seg.png",
		"1 members are neither images nor labels and are passed over: 1 .npy")
}

// A label is found wherever it is in the archive.
func TestWebDatasetMembersThatLieApart(t *testing.T) {
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprintf("%03d.jpg", i), fmt.Sprintf("%03d.json", i))
	}
	r := rand.New(rand.NewPCG(3, 4))
	r.Shuffle(len(names), func(i, k int) { names[i], names[k] = names[k], names[i] })
	var members []string
	for _, name := range names {
		members = append(members, name, `{"identity":"P`+name[:3]+`"}`)
	}
	archive := tarOf(t, members...)
	dir := shardFolder(t, map[string][]byte{"a.tar": archive, "b.tar.gz": gzipped(t, archive)})
	items := walk(t, openedShards(t, dir)).items
	if len(items) != 400 {
		t.Fatalf("%d items", len(items))
	}
	for _, item := range items {
		if item.Identity != "P"+item.Key[2:5] {
			t.Errorf("%s is %q", item.Key, item.Identity)
		}
	}
}

func TestWebDatasetCompressions(t *testing.T) {
	z, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	data := tarOf(t, "0.jpg", "A", "0.cls", "7")
	large := tarOf(t, "0.jpg", strings.Repeat("A", 5<<20), "1.jpg", "B")
	dir := shardFolder(t, map[string][]byte{
		"a.tar.zst": z.EncodeAll(data, nil), "b.tzst": z.EncodeAll(large, nil), "c.tar.xz": []byte("\xfd7zXZ\x00..."), "d.tbz2": []byte("BZh9..."),
		"e.tar": []byte("version https://git-lfs.github.com/spec/v1\n"), "f.tar": []byte("PK\x03\x04..."),
	})
	walk(t, openedShards(t, dir)).want(t, []string{
		"a/0.jpg | faces/7 | A",
		"b/0.jpg |  | " + strings.Repeat("A", 5<<20), "b/1.jpg |  | B",
		"c/ |  ! is an xz archive, which is not read: decompress it first, with unxz",
		"d/ |  ! is a bzip2 archive, which is not read: decompress it first, with bunzip2",
		"e/ |  ! is a Git LFS pointer: fetch the file with git lfs pull",
		"f/ |  ! is a zip archive, which is not read: unpack it, and give the folder as folder=DIR",
	})
}

func TestWebDatasetWildcards(t *testing.T) {
	dir := shardFolder(t, map[string][]byte{
		"train-0.tar": tarOf(t, "0.jpg", "A"), "train-1.tar": tarOf(t, "0.jpg", "B"), "val-0.tar": tarOf(t, "0.jpg", "C"),
		"train-0.json": []byte("{}"), "._train-2.tar": []byte("x"), "train-x.tar/y": []byte("a folder"),
		"x/0.tar": tarOf(t, "0.jpg", "D"), "y/0.tar": tarOf(t, "0.jpg", "E"),
	})
	for pattern, want := range map[string][]string{
		"*.tar":              {"train-0/0.jpg |  | A", "train-1/0.jpg |  | B", "val-0/0.jpg |  | C"},
		"train-*":            {"train-0/0.jpg |  | A", "train-1/0.jpg |  | B"},
		"train-[01].tar":     {"train-0/0.jpg |  | A", "train-1/0.jpg |  | B"},
		"{val,train}-?.tar":  {"val-0/0.jpg |  | C", "train-0/0.jpg |  | A", "train-1/0.jpg |  | B"},
		"[xy]/*.tar":         {"x/0/0.jpg |  | D", "y/0/0.jpg |  | E"},
		"*/{0..0}.tar":       {"x/0/0.jpg |  | D", "y/0/0.jpg |  | E"},
		"{train-1,miss}.tar": {"train-1/0.jpg |  | B", "miss/ |  ! open: no such file or directory"},
	} {
		walk(t, openedShards(t, filepath.Join(dir, pattern))).want(t, want)
	}
	for pattern, want := range map[string]string{"*.tgz": "matches no .tar", "*.json": "matches no .tar", "[.tar": "syntax error"} {
		if _, err := (Spec{Kind: "webdataset", Path: filepath.Join(dir, pattern)}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", pattern, err, want)
		}
	}
}

// Without labels the folders in an archive are people, unless there is only one.
func TestWebDatasetFolders(t *testing.T) {
	tests := []struct {
		name    string
		members []string
		want    []string
		notice  string
	}{
		{"people", []string{"./faces/Ann/0.jpg", "A", "./faces/Bob/0.jpg", "B", "./faces/7/0.jpg", "C", "loose.jpg", "D"},
			[]string{"a/faces/Ann/0.jpg | faces/Ann | A", "a/faces/Bob/0.jpg | faces/Bob | B", "a/faces/7/0.jpg | faces/7 | C", "a/loose.jpg |  | D"},
			"no .cls or .json names people: identities are the folders in the archives, such as faces/Ann"},
		{"numbers", []string{"0/0.jpg", "A", "1/0.jpg", "B"},
			[]string{"a/0/0.jpg | faces/0 | A", "a/1/0.jpg | faces/1 | B"},
			"no .cls or .json names people: identities are the folders in the archives, such as 0"},
		{"one folder", []string{"train/0.jpg", "A", "train/1.jpg", "B"},
			[]string{"a/train/0.jpg |  | A", "a/train/1.jpg |  | B"},
			"no .cls or .json names people, and the images of an archive lie in one folder, such as train: there are no identities"},
		{"labels that name others", []string{"train/0.jpg", "A", "train/0.cls", "1", "val/0.jpg", "B", "val/0.cls", "2", "val/1.jpg", "C"},
			[]string{"a/train/0.jpg | faces/1 | A", "a/val/0.jpg | faces/2 | B", "a/val/1.jpg |  | C"},
			"labels name other people than the folders in the archives do: images without a label have no identity"},
		{"nobody", []string{"Ann/0.jpg", "A", "Ann/0.cls", "-1", "Bob/0.jpg", "B", "Cid/0.jpg", "C"},
			[]string{"a/Ann/0.jpg |  | A", "a/Bob/0.jpg | Bob | B", "a/Cid/0.jpg | Cid | C"},
			"identities of images without a label are the folders in the archives, such as "},
		{"labels that name the same", []string{"x/Ann/0.jpg", "A", "x/Ann/0.json", `{"identity":"Ann"}`, "x/Ann/1.jpg", "B", "x/Bob/0.jpg", "C", "x/Bob/0.json", `{"label":"Bob"}`},
			[]string{"a/x/Ann/0.jpg | Ann | A", "a/x/Ann/1.jpg | Ann | B", "a/x/Bob/0.jpg | Bob | C"},
			"identities of images without a label are the folders in the archives, such as "},
		{"a contradiction", []string{"Ann/0.jpg", "A", "Ann/0.json", `{"identity":"Bob"}`, "Ann/1.jpg", "B", "Bob/0.jpg", "C"},
			[]string{"a/Ann/0.jpg | Bob ! its label names Bob, its folder Ann", "a/Ann/1.jpg | Ann | B", "a/Bob/0.jpg | Bob | C"},
			"identities of images without a label are the folders in the archives, such as "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { walk(t, oneShard(t, tt.members...)).want(t, tt.want, tt.notice) })
	}
}

// A folder with the shard's name is nobody.
func TestWebDatasetFoldersOfShards(t *testing.T) {
	dir := shardFolder(t, map[string][]byte{"t-0.tar": tarOf(t, "t-0/0.jpg", "A"), "t-1.tar": tarOf(t, "t-1/0.jpg", "B")})
	walk(t, openedShards(t, dir)).want(t, []string{"t-0/t-0/0.jpg |  | A", "t-1/t-1/0.jpg |  | B"}, "in one folder, such as t-0: there are no identities")
}

// The second person may come after a thousand images of the first.
func TestWebDatasetFoldersAreLookedForInAWholeShard(t *testing.T) {
	var members []string
	for i := range probeImages + 100 {
		members = append(members, fmt.Sprintf("Ann/%d.jpg", i), "A")
	}
	s := walk(t, oneShard(t, append(members, "Bob/0.jpg", "B")...))
	if first, last := s.items[0].Identity, s.items[len(s.items)-1].Identity; first != "Ann" || last != "Bob" {
		t.Errorf("identities %q and %q", first, last)
	}
}

// In an unused field nothing costs the image, in a used one it does.
func TestWebDatasetPythonsJSON(t *testing.T) {
	s := walk(t, oneShard(t,
		"0.jpg", "A", "0.json", "\ufeff"+`{"identity":"Ann","blur":NaN,"far":-Infinity,"list":[1,Infinity],"text":"NaN, \"-Infinity\\"}`,
		"1.jpg", "B", "1.json", `{"label":NaN}`,
		"2.jpg", "C", "2.json", `{"landmarks":[NaN,1,1,1,1,1,1,1,1,1]}`,
		"3.jpg", "D", "3.json", `{"a":NaNs}`,
		"4.jpg", "E", "4.json", `{"box":[1,1,Infinity,5]}`,
	))
	s.want(t, []string{
		"a/0.jpg | Ann | A",
		`a/1.jpg |  ! its .json: label "NaN" is not an integer`,
		"a/2.jpg |  ! its .json: landmarks: number NaN",
		"a/3.jpg |  ! its .json: invalid character 's' after object key:value pair",
		"a/4.jpg |  ! its .json: box: number Infinity",
	})
	if got := fmt.Sprint(s.items[0].Attributes); got != `[{blur NaN} {far -Infinity} {text NaN, "-Infinity\}]` {
		t.Errorf("attributes %s", got)
	}
}

// landmarkMembers are samples with the landmarks of a face, their numbers in another order.
func landmarkMembers(n int, order func(v []float64) []float64) (members []string) {
	for i := range n {
		var v []float64
		for _, p := range align.Template(112) {
			v = append(v, p.X+float64(i), p.Y+float64(2*i))
		}
		text := strings.Join(strings.Fields(fmt.Sprint(order(v))), ",")
		members = append(members, fmt.Sprintf("%d.jpg", i), "A", fmt.Sprintf("%d.json", i), `{"landmarks":`+text+`}`)
	}
	return members
}

func TestWebDatasetOrderOfLandmarks(t *testing.T) {
	apart := func(v []float64) []float64 {
		return []float64{v[0], v[2], v[4], v[6], v[8], v[1], v[3], v[5], v[7], v[9]}
	}
	usual := walk(t, oneShard(t, landmarkMembers(10, func(v []float64) []float64 { return v })...))
	other := walk(t, oneShard(t, landmarkMembers(10, apart)...))
	if len(usual.notices) != 0 || len(other.notices) != 1 || !strings.Contains(other.notices[0], "x1 ... x5 y1 ... y5") {
		t.Errorf("notices %q and %q", usual.notices, other.notices)
	}
	for i := range usual.items {
		if *usual.items[i].Landmarks != *other.items[i].Landmarks {
			t.Errorf("%s: %v, want %v", usual.items[i].Key, *other.items[i].Landmarks, *usual.items[i].Landmarks)
		}
	}
	dir := shardFolder(t, map[string][]byte{"a.tar": tarOf(t, landmarkMembers(10, func(v []float64) []float64 {
		return append(v[:6:6], v[8], v[9], v[6], v[7])
	})...)})
	if _, err := (Spec{Kind: "webdataset", Path: dir}).Open(t.Context()); err == nil || !strings.Contains(err.Error(), "mouth corner swapped") {
		t.Errorf("mouth corners swapped: %v", err)
	}
}
